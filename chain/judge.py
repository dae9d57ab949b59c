"""The offline judge: one JSON object in, one answer out. The contract of `chain verify`.

The law of this file: what is not understood is refused. The input is strict JSON with known members of the right
type, or the answer is a denial that says so; an absent member is the most restrictive one. Nothing is kept between
two questions but verified prefixes, so single use is the caller's to enforce, and chains that need state kept
elsewhere (budgets, approvals) are denied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import ValidationError

from chain import jcs, statuslist
from chain.anchor import TrustAnchor
from chain.approval import Action, Approval
from chain.budget import Spent
from chain.catalog import Catalogue
from chain.check import check
from chain.containment import Profile
from chain.control import ORDINARY, Controls, Party, Suspension
from chain.decision import Decision, Finding, denied, refused
from chain.delegation import Chain, Delegation
from chain.errors import InvalidRequestError, InvalidTokenError
from chain.key import PublicKey
from chain.principal import Principal
from chain.request import Request
from chain.state import Settings
from chain.statuslist import Reference, StatusList
from chain.token import Rules, Verifier

MAX_VERIFIERS = 64
"""Sets of anchors remembered: a stream of questions has a few, a hostile one as many as it has lines."""

REMEMBERED = 16 * 1024 * 1024
"""Bytes for verified prefixes of one set of anchors."""

_REQUEST_ID = "offline-single-use"
"""Stands for the request id of a channel-proven call; whether one was used before is not known here."""


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trusted key.

    Attributes:
        jwk: public JWK.
        iss: the only issuer it may speak for; absent accepts any.
        certifies: it signs key certificates, which roots carry, and no root; needs `iss`.
    """

    jwk: dict[str, Any]
    iss: str | UnsetType = UNSET
    certifies: bool = False


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked.

    Attributes:
        tokens: compact JWS, root first.
        trust_anchors: keys accepted for the root.
        tool, args: the call.
        proof: the holder's proof for it.
        holder: ``channel`` where the channel proved the caller to be the leaf's holder.
        now: seconds; absent takes the clock.
        revoked: `jti`s of the presented chain that are revoked.
        audience: the enforcement point that asks.
        purpose, intent: what the agent declares.
        classification: label of the data touched, by the enforcement point.
        catalogue: tool name -> class or description (`chain.catalog`).
        profile: which constraints count as narrower, and what a proof must carry.
        status_lists: Token Status Lists, each signed by the anchor whose roots it is about.
    """

    tokens: list[str]
    trust_anchors: list[Anchor]
    tool: str
    args: dict[str, Any]
    proof: str | UnsetType = UNSET
    now: int | float | UnsetType = UNSET
    revoked: list[str] | UnsetType = UNSET
    audience: str | UnsetType = UNSET
    purpose: str | UnsetType = UNSET
    classification: str | UnsetType = UNSET
    intent: str | UnsetType = UNSET
    catalogue: dict[str, Any] | UnsetType = UNSET
    holder: Literal["channel"] | UnsetType = UNSET
    profile: Literal["sound", "aat-01"] = "sound"
    status_lists: list[str] | UnsetType = UNSET


class Fault(msgspec.Struct, frozen=True):
    """One thing that stands against the call; `hop` counts from the root at 0."""

    reason: str
    hop: int | None
    detail: str


class Answer(msgspec.Struct, frozen=True):
    """The decision, as it is printed.

    Attributes:
        effect: ALLOW or DENY.
        reason: the first fault's code, or ``allowed``.
        hop: where that fault is.
        findings: every fault of every hop.
    """

    effect: str
    reason: str
    hop: int | None
    findings: tuple[Fault, ...]

    @classmethod
    def of(cls, decision: Decision) -> Answer:
        """Return the answer that tells a decision."""
        faults = tuple(Fault(f.reason.value, f.hop, f.detail) for f in decision.findings)
        return cls(decision.effect.value, decision.reason.value, decision.hop, faults)

    @classmethod
    def malformed(cls, error: InvalidRequestError) -> Answer:
        """Return the answer to a question that is none."""
        return cls.of(denied(Finding(reason=error.reason, hop=None, detail=error.detail), at=0.0))


@dataclass(frozen=True, slots=True)
class _Offline:
    """The live facts, as far as the question states them (`chain.state.State`); the rest is as if nothing had happened.

    Who asks offline keeps count of what was used, and state that some authority keeps is denied.
    """

    settings: Settings
    catalogue: Catalogue
    revoked: AbstractSet[bytes]
    lists: Mapping[str, StatusList] = field(default_factory=dict)
    controls: Controls = field(default_factory=Controls)
    policy: None = None

    def seen(self, digest: bytes, nonce: str) -> bool:
        """Tell that nothing was used before."""
        return False

    def principal(self, thumbprint: str) -> Principal | None:
        """Tell that nobody is known: there is no registry to ask."""
        return None

    def party(self, thumbprint: str) -> Party:
        """Return a key that nobody enrolled."""
        return Party(thumbprint, None, ORDINARY)

    def stopped(self, thumbprint: str, now: float) -> tuple[Suspension, ...]:
        """Tell of no suspension."""
        return ()

    def rested(self, chain: Chain, now: float) -> float:
        """Tell that nobody asks too often."""
        return 0.0

    def spent(self, digest: bytes) -> Spent:
        """Tell that nothing was spent."""
        return Spent()

    def asked_under(self, root: str) -> bool:
        """Tell that nobody was asked."""
        return False

    def approval(self, binding: str) -> Approval | None:
        """Tell that nobody was asked."""
        return None

    def crowded(self, asker: str, action: Action, now: float) -> str | None:
        """Tell that nothing waits."""
        return None

    def approved(self, digest: bytes) -> bool:
        """Tell that nobody approved anything."""
        return False

    def invalid(self, hop: Delegation, where: Reference, now: float) -> bool | None:
        """Tell what a list says that was given with the question; the root's issuer publishes it."""
        found = self.lists.get(where.uri)
        return None if found is None or not found.speaks_for(hop) else found.invalid(where.idx, now)


def read(data: bytes | str) -> Case:
    """Decode a question strictly.

    Args:
        data: JSON text of one object.

    Raises:
        InvalidRequestError: not strict JSON, an unknown or missing member, or one of a wrong type.
    """
    try:
        return msgspec.convert(jcs.loads(data), Case)
    except ValueError as error:
        raise InvalidRequestError(f"the question: {error}") from None


def decide(
    verifier: Verifier,
    tokens: Sequence[str],
    request: Request,
    catalogue: Catalogue,
    now: float,
    *,
    revoked: AbstractSet[str] = frozenset(),
    channel: bool = False,
    lists: Sequence[str] = (),
) -> Decision:
    """Decide one call without an authority: nothing is recorded, nobody is enrolled, nothing was used before.

    Args:
        verifier: anchors and rules.
        tokens: compact JWS, root first.
        request: the call.
        catalogue: what each tool is.
        now: seconds.
        revoked: `jti`s of tokens that are revoked; within the chain presented each is unique.
        channel: whether the channel proved the caller to be the leaf's holder.
        lists: Token Status Lists; a chain that names another is denied.

    Raises:
        InvalidRequestError: a list that no anchor signed.
    """
    read_lists = [statuslist.read(text, verifier.trust) for text in lists]
    try:
        chain = verifier.verify(tokens)
    except InvalidTokenError as error:
        return refused(error, now)
    if channel:
        request = request.model_copy(update={"holder": chain.leaf.holder, "request_id": _REQUEST_ID})
    rules = verifier.rules
    settings = Settings(profile=rules.profile, labels=rules.labels, require_enrolment=False)
    gone = frozenset(hop.digest for hop in chain.hops if hop.claims.jti in revoked) if revoked else frozenset()
    known = {one.uri: one for one in read_lists}
    return check(chain, request, _Offline(settings, catalogue, gone, known), now).decision


class Judge:
    """Answers questions, and remembers verified prefixes between them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Prepare to answer.

        Args:
            clock: seconds since the epoch, for questions that do not say `now`.
        """
        self._clock = clock
        self._verifiers: dict[bytes, Verifier] = {}

    def answer(self, data: bytes | str) -> Answer:
        """Answer a question given as JSON text; one that cannot be read is denied (`request_invalid`)."""
        try:
            return Answer.of(self.decide(read(data)))
        except InvalidRequestError as error:
            return Answer.malformed(error)

    def decide(self, case: Case) -> Decision:
        """Decide one question.

        Raises:
            InvalidRequestError: an anchor, the call or the catalogue is not well formed.
        """
        verifier = self._verifier(case.trust_anchors, Profile(case.profile))
        now = self._clock() if isinstance(case.now, UnsetType) else case.now
        revoked = frozenset(() if isinstance(case.revoked, UnsetType) else case.revoked)
        known = catalogue({} if isinstance(case.catalogue, UnsetType) else case.catalogue)
        lists = () if isinstance(case.status_lists, UnsetType) else case.status_lists
        channel = case.holder == "channel"
        return decide(verifier, case.tokens, _request(case), known, now, revoked=revoked, channel=channel, lists=lists)

    def _verifier(self, anchors: Sequence[Anchor], profile: Profile) -> Verifier:
        name = msgspec.json.encode((anchors, profile.value))
        known = self._verifiers.pop(name, None)
        if known is None:
            known = Verifier(map(_anchor, anchors), Rules(profile=profile), REMEMBERED)
            if len(self._verifiers) >= MAX_VERIFIERS:
                del self._verifiers[next(iter(self._verifiers))]
        self._verifiers[name] = known  # last in, last out: the first is the one longest unused
        return known


def _anchor(anchor: Anchor) -> TrustAnchor:
    try:
        key = PublicKey.from_json(msgspec.json.encode(anchor.jwk))
        issuer = None if isinstance(anchor.iss, UnsetType) else anchor.iss
        return TrustAnchor(key, issuer, certifies=anchor.certifies)
    except ValueError as error:
        raise InvalidRequestError(f"a trust anchor: {error}") from None


def catalogue(tools: Mapping[str, Any]) -> Catalogue:
    """Return the catalogue that JSON describes.

    Raises:
        InvalidRequestError: an unknown class, or an unknown member.
    """
    try:
        return Catalogue.model_validate(tools)
    except ValidationError as error:
        raise InvalidRequestError(f"the catalogue: {_first(error)}") from None


def _request(case: Case) -> Request:
    stated = {
        "purpose": case.purpose,
        "intent": case.intent,
        "audience": case.audience,
        "classification": case.classification,
        "proof": case.proof,
    }
    given = {name: value for name, value in stated.items() if value is not UNSET}
    try:
        return Request(tool=case.tool, arguments=case.args, **given)
    except ValidationError as error:
        raise InvalidRequestError(f"the call: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """Return the first thing wrong, without the input that it was found in."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, fault["loc"]))
    return f"`{where}`: {fault['msg']}" if where else str(fault["msg"])
