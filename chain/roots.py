"""Roots: issued under the policy, and the list that tells strangers which of them were revoked.

The law of this file: a root is signed here and verified like a stranger's before it counts. Its place in the status
list is given in the commit that records it, and never twice.
"""

from __future__ import annotations

from concurrent.futures import Future
from itertools import count

from chain import change, issuance, mint, statuslist, token
from chain import check as checks
from chain.base64url import b64decode
from chain.caller import Caller
from chain.claims import Claims
from chain.delegation import Chain
from chain.desk import Desk
from chain.errors import ForbiddenError, InvalidRequestError, InvalidTokenError
from chain.once import Once
from chain.order import Issue
from chain.proof import REVOKE
from chain.request import Request
from chain.signing import Signing
from chain.statuslist import Reference
from chain.token import Verifier
from chain.view import Delegated


class Roots:
    """What an issuer does. A part of `chain.authority.Authority`."""

    def __init__(self, desk: Desk, verifier: Verifier, signing: Signing, issuer: str, audience: str) -> None:
        """Issue at a desk.

        Args:
            desk: decides and records.
            verifier: anchors and rules.
            signing: the issuer's keys; where there is none nothing is issued.
            issuer: its URI.
            audience: the authority's own name, the home of what is issued.
        """
        self._desk = desk
        self._verifier = verifier
        self._signing = signing
        self._issuer = issuer
        self._audience = audience
        self._places = count(desk.live.next_place)

    def begin_issue(self, caller: Caller, order: Issue, key: str | None) -> Future[Delegated]:
        """Issue a root and record it (`Authority.begin_issue`)."""
        caller.require("Issue")
        settings = self._desk.live.settings
        if not self._signing.possible:
            raise ForbiddenError("no issuer's key is held here")
        if (wrong := order.grant.fault()) is not None:
            raise InvalidRequestError(wrong[1], wrong[0])
        issuance.require_named(order, settings)
        lifetime = issuance.lifetime(order, self._desk.live.catalogue, settings)
        if order.listed and settings.status_list is None:
            raise InvalidRequestError("no status list is published here")
        now = self._desk.clock()
        listed = Reference(next(self._places), settings.status_list) if order.listed and settings.status_list else None
        jti = mint.uuid7(now, self._desk.entropy(10))
        claims = order.claims(
            issuer=self._issuer, jti=jti, now=int(now), lifetime=lifetime, home=self._audience, listed=listed
        )
        text, chain = self._sign(claims)
        once = Once.of(caller, "Issue", key, *order.asked)
        return self._desk.change(change.issuing(chain, text, caller, listed), once, Delegated)

    def status_list(self, caller: Caller) -> str:
        """Return the status list as it stands, signed (`Authority.status_list`)."""
        caller.require("GetStatusList")
        live, now = self._desk.live, self._desk.clock()
        uri = live.settings.status_list
        if uri is None or not self._signing.possible:
            raise InvalidRequestError("no status list is published here")
        signer, places = self._signing.signer(), live.listed
        size = max(statuslist.SIZE, max(places, default=0) + 1)
        gone = [place for place, digest in places.items() if self._revoked(digest, now)]
        return statuslist.publish(signer, uri, gone, int(now), size)

    def _sign(self, claims: Claims) -> tuple[str, Chain]:
        """Sign a root with one key; where that was replaced and distrusted meanwhile, with the one that came."""
        signer = self._signing.signer()
        text = token.sign(claims, signer)
        try:
            return text, self._verifier.verify([text])
        except InvalidTokenError:
            if (successor := self._signing.signer()) is signer:
                raise
        text = token.sign(claims, successor)
        return text, self._verifier.verify([text])

    def _revoked(self, digest: str, now: float) -> bool:
        """Tell whether a root was revoked, by itself or by name; one that cannot be read any more counts as that."""
        live, name = self._desk.live, b64decode(digest.encode())
        if name in live.revoked:
            return True
        if not live.controls.struck:
            return False
        try:
            chain, _ = self._desk.resolve(name)
        except InvalidTokenError:
            return True
        return bool(checks.check(chain, Request(tool=REVOKE), live, now, (checks.revoked,)).findings)
