"""What a program is given for its lifetime: a root from an issuer, or a delegation from a holder's own chain.

The law of this file: just in time, for one key, and taken back. What can be refused without asking is refused first;
then the key is enrolled, because the policy looks at who will hold it; a key whose grant is refused is revoked at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chain import enrolment, mint
from chain.base64url import b64decode
from chain.client.holding import Ordered
from chain.client.session import Session
from chain.control import Named
from chain.errors import ChainError, DeniedError
from chain.grant import Grant
from chain.key import KeySigner, PublicKey
from chain.order import Delegate, Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason

if TYPE_CHECKING:
    from chain.client import Client

PAUSES = (0.5, 2.0)
"""Seconds before it is taken back again, where nobody answered: a server restarts in less."""

_AGAIN = frozenset({Reason.UNREACHABLE, Reason.STORE_UNAVAILABLE, Reason.RESOURCE_EXHAUSTED})
_ENDED = frozenset({Reason.EXPIRED, Reason.REVOKED})


@dataclass(frozen=True, slots=True)
class Given:
    """What the program holds.

    Attributes:
        tokens: its chain, root first.
        id: of its delegation.
        until: seconds since the epoch when that ends.
    """

    tokens: tuple[str, ...]
    id: str
    until: int


@dataclass(frozen=True, slots=True)
class Share:
    """What is handed on.

    Attributes:
        grant: tools, and the limits that are narrowed.
        lifetime: seconds, clamped to the own chain's end.
        max_depth: highest hop that may follow; None keeps the own chain's.
        principal: who the program is to be; None leaves it unknown.
    """

    grant: Grant
    lifetime: int
    max_depth: int | None
    principal: Principal | None


class Lease(Protocol):
    """Gives a program authority, and takes it back."""

    def give(self) -> Given:
        """Return what the program holds from now on.

        Raises:
            ChainError: it is refused, or nobody answered; nothing was given.
        """
        ...

    def take_back(self, given: Given, cause: str) -> None:
        """End it, with everything beneath.

        Raises:
            ChainError: it could not be ended.
        """
        ...


class Issued:
    """As an issuer: a root, for a key that an operator may enrol."""

    def __init__(self, client: Client, order: Issue, key: PublicKey, principal: Principal | None) -> None:
        """Prepare.

        Args:
            client: the service, as an issuer; and an operator, where there is a `principal`.
            order: the root, to the program's key.
            key: that key.
            principal: who it is to be; None leaves it unknown.
        """
        self._client, self._order, self._key, self._principal = client, order, key, principal

    def give(self) -> Given:
        """Return a root, its holder enrolled."""
        if self._principal is None:
            return self._issued()
        self._client.enrol(self._key, self._principal)
        with _struck_on_failure(self._client, self._key):
            return self._issued()

    def take_back(self, given: Given, cause: str) -> None:
        """Revoke the root; a key that was enrolled for it, with all that it holds, for good."""
        if self._principal is not None:
            _strike(self._client, self._key, cause)
        elif time.time() < given.until:
            self._client.revoke(Revoke(b64decode(given.id.encode()), cause))

    def _issued(self) -> Given:
        made = self._client.issue(self._order)
        leaf = mint.unverified(made.token)
        return Given((made.token,), leaf.id, leaf.exp)


class Delegated:
    """As a holder: a delegation beneath its own chain, for a key that it may enrol under its own."""

    def __init__(self, client: Client, own: Session, share: Share, signer: KeySigner) -> None:
        """Prepare.

        Args:
            client: the service, as an agent.
            own: the launcher's key and chain.
            share: what is handed on.
            signer: the program's key.
        """
        self._client, self._own, self._share, self._signer = client, own, share, signer

    def give(self) -> Given:
        """Return a child of the own chain, its holder enrolled under the own key."""
        own, share, authority = self._own, self._share, self._client.audience()
        key = self._signer.key
        ordered = own.handing(
            key, share.grant, authority, share.lifetime, share.max_depth
        )  # refused here, if it is more
        if share.principal is None:
            return self._registered(ordered)
        self._enrol(share.principal, authority)
        with _struck_on_failure(self._client, key):
            return self._registered(ordered)

    def take_back(self, given: Given, cause: str) -> None:
        """Revoke the child, unless it has ended; a key that was enrolled for it, with all that it holds, for good."""
        if self._share.principal is not None:
            _strike(self._client, self._signer.key, cause)
        elif time.time() < given.until:
            try:
                self._own.revoke(given.id, cause)
            except DeniedError as error:
                if error.reason not in _ENDED:  # of the own chain, and of what hangs from it
                    raise

    def _registered(self, ordered: Ordered[str | Delegate]) -> Given:
        made = self._client.delegate(ordered.presented, ordered.subject, ordered.proof, ordered.key)
        tokens = self._own.handed(ordered, made).tokens
        leaf = mint.unverified(tokens[-1])
        return Given(tokens, leaf.id, leaf.exp)

    def _enrol(self, principal: Principal, authority: str) -> None:
        under = self._own.leaf.holder
        now = time.time()
        agreed = enrolment.make(
            self._signer, principal.id, under, audience=authority, jti=mint.uuid7(now, os.urandom(10)), iat=int(now)
        )
        worker = principal.model_copy(update={"under": under})
        self._client.enrol(self._signer.key, worker, None, agreed)


@contextmanager
def _struck_on_failure(client: Client, key: PublicKey) -> Iterator[None]:
    """Leave no key enrolled to which nothing was given; the error that says why comes first."""
    try:
        yield
    except BaseException:
        with suppress(ChainError):
            _strike(client, key, "nothing was given to it")
        raise


def _strike(client: Client, key: PublicKey, cause: str) -> None:
    client.revoke(Revoke(b"", cause, Named("holder", key.thumbprint)))


def taken_back(
    lease: Lease, given: Given, cause: str, pause: Callable[[float], None] = time.sleep
) -> ChainError | None:
    """Take back, a few times where nobody answers; return why it could not be done, if it could not."""
    for seconds in (*PAUSES, None):
        try:
            lease.take_back(given, cause)
        except ChainError as error:
            if seconds is None or error.reason not in _AGAIN:
                return error
            pause(seconds)
        else:
            return None
    return None
