"""The live facts: a projection of the ledger, kept in memory, rebuilt by a restart.

The law of this file: readers read at any moment; only the ledger's single writer changes anything, in commit
order, just before the change is written. A change is visible a moment before it is durable, which is safe: whoever
sees it writes a record of its own behind it, and no answer leaves before its own record is down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from chain.approval import Action, Approval
from chain.approvals import Approvals
from chain.budget import Purse, Spent
from chain.caller import Caller
from chain.catalog import Catalogue
from chain.control import ORDINARY, Controls, Party, Standing, Suspension
from chain.delegation import Chain, Delegation
from chain.expiry import Expiry
from chain.ledger import Store
from chain.outcome import PolicyView
from chain.pace import Breaker, Pace
from chain.principal import Principal
from chain.recent import Recent
from chain.roster import Roster
from chain.row import ReplyRow, StandingRow
from chain.state import Nonce, Settings
from chain.statuslist import Reference

LISTED = "listed"
"""Kind of what stands (`chain.row.StandingRow`): a root's place in the status list."""


class Live:
    """What `check` reads (`chain.check.State`), and what a commit changes of it.

    Attributes:
        settings: as configured.
        policy: the one that is active, or None.
        controls: what is suspended or revoked by name, and how principals stand.
        purse: what was spent of budgets.
        approvals: what people were asked, and said.
        pace: how often holders act.
        roster: who is enrolled, and who works under whom.
        listed: ids of the roots that have a place in the status list, by place.
        registered: delegations known to be in the ledger, or on their way there: (iss, jti) by digest.
        names: digest by (iss, jti), so that nobody takes another's jti.
        replies: answers to idempotency keys given lately.
    """

    def __init__(
        self, store: Store, settings: Settings, catalogue: Catalogue, now: float, breaker: Breaker | None = None
    ) -> None:
        """Read what a restart must know: revocations, nonces that could come again, enrolments, what stands."""
        self.settings = settings
        self.policy: PolicyView | None = None
        self._catalogue = catalogue
        self.controls = Controls.load(store, now)
        self.purse = Purse(store)
        self.pace = Pace(breaker or Breaker())
        self.listed = {int(row.name): row.body.decode() for row in store.standing(LISTED)}
        self._parties: dict[str, Party] = {}
        self._revoked = {row.digest for row in store.revocations()}
        self._nonces: dict[tuple[bytes, str], int] = {}
        self._expiry: Expiry[tuple[bytes, str]] = Expiry(now)
        for row in store.nonces(int(now)):
            self.use(Nonce(row.digest, row.jti, row.expires))
        self.roster = Roster()
        for enrolment in store.enrolments():
            self.roster.enrol(enrolment.thumbprint, Principal.model_validate_json(enrolment.body))
        self._principals = self.roster.principals
        self.approvals = Approvals(store, self._pays)
        self.registered: Recent[bytes, tuple[str, str]] = Recent()
        self.names: Recent[tuple[str, str], bytes] = Recent()
        self.replies: Recent[tuple[str, str, str], ReplyRow] = Recent()

    @property
    def revoked(self) -> AbstractSet[bytes]:
        """Digests of revoked delegations."""
        return self._revoked

    def seen(self, digest: bytes, nonce: str) -> bool:
        """Tell whether a proof or request id was used under this leaf before."""
        return (digest, nonce) in self._nonces

    def principal(self, thumbprint: str) -> Principal | None:
        """Return who a key belongs to, if it was enrolled."""
        return self._principals.get(thumbprint) or self.roster.principal(thumbprint)

    def names_of(self, caller: Caller) -> frozenset[str]:
        """Return what the tokens that a caller holds may call it: as its credential says, and every key of its id."""
        return caller.names if caller.spiffe is None else caller.names | self.roster.keys_of(caller.spiffe)

    @property
    def catalogue(self) -> Catalogue:
        """What each tool is: by the active policy's bundle, or as configured."""
        return self._catalogue if self.policy is None else self.policy.catalogue

    @property
    def configured(self) -> Catalogue:
        """The catalogue for a bundle that brings none."""
        return self._catalogue

    def party(self, thumbprint: str) -> Party:
        """Return who holds this key, and how they stand."""
        parties = self._parties  # of one moment: what a reader works out from older facts never reaches newer ones
        known = parties.get(thumbprint)
        if known is None:
            principal, *above = self.roster.line(thumbprint) or (None,)
            if principal is None:
                return Party(thumbprint, None, ORDINARY)
            known = parties[thumbprint] = Party(thumbprint, principal, self.controls.standing(principal, above))
        return known

    def actor(self, thumbprint: str) -> str:
        """Return who acts with this key: the agent at the top of all that it works under; a key of nobody by itself."""
        return self.roster.head(thumbprint)

    def answers(self, hops: Sequence[Delegation]) -> str:
        """Return to whom it counts what is done at the end of these hops, where too much of it is refused.

        A key that nobody enrolled costs nothing to make: whoever is nearest above it and is somebody answers for it,
        else the root's holder.
        """
        for hop in reversed(hops):
            if self.principal(hop.holder) is not None:
                return self.roster.head(hop.holder)
        return hops[0].holder

    def stopped(self, thumbprint: str, now: float) -> Iterator[Suspension]:
        """Yield what stops whoever holds this key, or an agent that it works under."""
        for suspension in self.controls.over(thumbprint, self.roster.line(thumbprint)):
            if suspension.at(now):
                yield suspension

    def rested(self, chain: Chain, now: float) -> float:
        """Return how many seconds a chain's holder has to wait before it may ask again."""
        return self.pace.rested(self.answers(chain.hops), now)

    def spent(self, digest: bytes) -> Spent:
        """Return what was used up of a delegation's budget."""
        return self.purse.spent(digest)

    def asked_under(self, root: str) -> bool:
        """Tell whether anybody asked for an approval under this root."""
        return self.approvals.under(root)

    def approval(self, binding: str) -> Approval | None:
        """Return the latest request for approval of an action."""
        return self.approvals.of(binding)

    def crowded(self, asker: str, action: Action, now: float) -> str | None:
        """Return why people are not asked about one action more; None where they are."""
        return self.approvals.waiting.crowded(asker, action, now, self.settings)

    def _pays(self, asker: str, action: Action) -> str:
        """Return to whom a request counts: to whoever asks, with all who are one party with it (`Roster.head`).

        A key that nobody enrolled costs nothing to make, so that it counts to the nearest holder above it in the chain
        that somebody did enrol, else to the root; what an issuer asks counts to the issuer.
        """
        if not asker:
            return action.subject
        above = action.path if action.path[-1] == asker else action.path[:-1]  # the last one may be the hop asked about
        known = next((thumbprint for thumbprint in reversed(above) if self.principal(thumbprint) is not None), None)
        return action.root if known is None else self.roster.head(known)

    def approved(self, digest: bytes) -> bool:
        """Tell whether people approved this hop when it was made."""
        return self.approvals.approved(digest)

    def invalid(self, hop: Delegation, where: Reference, now: float) -> bool | None:
        """Tell what the own list says: nothing that `revoked` does not know, of what has that place in it."""
        own = where.uri == self.settings.status_list and self.listed.get(where.idx) == hop.id
        return False if own else None

    @property
    def next_place(self) -> int:
        """The first place of the status list that was never given."""
        return max(self.listed, default=-1) + 1

    def place(self, place: int, hop: Delegation, revision: int) -> StandingRow:
        """Give a root its place in the status list (writer only)."""
        self.listed[place] = hop.id
        return StandingRow(LISTED, str(place), hop.id.encode(), 0, revision)

    def use(self, nonce: Nonce) -> None:
        """Take a nonce (writer only)."""
        name = (nonce.digest, nonce.value)
        self._nonces[name] = nonce.expires
        self._expiry.add(name, nonce.expires)

    def sweep(self, now: float) -> None:
        """Forget some of what expired by a time that does not come back (writer only)."""
        self.controls.sweep(now)
        for name in self._expiry.due(now):
            if self._nonces.get(name, 0) <= now:
                self._nonces.pop(name, None)

    def revoke(self, digest: bytes) -> None:
        """Revoke (writer only)."""
        self._revoked.add(digest)

    def enrol(self, thumbprint: str, principal: Principal) -> bytes:
        """Enrol a key (writer only) and return the principal as stored."""
        self.roster.enrol(thumbprint, principal)
        self._parties = {}
        self.approvals.waiting.recount()
        return msgspec.json.encode(principal.model_dump())

    def stand(self, principal: str, standing: Standing, revision: int) -> StandingRow:
        """Say how a principal stands, with all who work under it (writer only)."""
        row = self.controls.stand(principal, standing, revision)
        self._parties = {}
        return row
