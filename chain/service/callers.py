"""Which caller a workload is: what the configuration says of its SPIFFE id, and nothing else.

The law of this file: an identity is no authority. An id for which no line of the configuration speaks is nobody, and
of those that do the most exact one counts alone: roles are never added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import ValidationError

from chain.caller import Caller
from chain.custody import Custody
from chain.errors import ConfigurationError, UnauthenticatedError, clip
from chain.peer import Tls, Workload
from chain.principal import Principal, covers
from chain.service.credentials import Identity
from chain.service.settings import explain
from chain.service.tables import AgentSettings

REMEMBERED = 4096
"""Workloads whose caller is remembered; then all are looked up anew."""

LEAF, SENT = "x509_pem_cert", "x509_pem_cert_chain"
"""What gRPC calls the certificate whose key the handshake proved, and what the peer sent along with it."""


class Ending(Protocol):
    """Somebody whom a credential names for a while."""

    @property
    def until(self) -> float:
        """Seconds since the epoch when it ends."""
        ...


N = TypeVar("N", bound=Ending)


class Workloads(Protocol):
    """Knows the server's own identity and those of its peers, as they are now."""

    def tls(self) -> Tls:
        """Return what the next handshake is made with."""
        ...

    def channel(self, chain: bytes) -> Workload:
        """Return the workload that a channel proved by these certificates (PEM, the leaf first).

        Raises:
            UnauthenticatedError: they prove none.
        """
        ...

    def bearer(self, token: str) -> Workload:
        """Return the workload that a JWT-SVID names.

        Raises:
            UnauthenticatedError: it names none.
        """
        ...


class Row(NamedTuple):
    """A caller that is known by a SPIFFE id.

    Attributes:
        pattern: which ids (`chain.principal.covers`).
        caller: what their bearers may do.
        ward: who answers for them, where the keys of these agents are kept here.
    """

    pattern: str
    caller: Caller
    ward: AgentSettings | None = None


class Callers:
    """The callers that are known by a SPIFFE id."""

    def __init__(self, rows: Iterable[Row], custody: Custody) -> None:
        """Take over what is configured, and the keys that are kept for agents."""
        self._rows = sorted(rows, key=lambda row: exactness(row.pattern), reverse=True)
        self._custody = custody
        self._known: dict[Workload, Caller] = {}

    def of(self, workload: Workload) -> Caller:
        """Return the caller that a workload is.

        Raises:
            UnauthenticatedError: nobody who is configured.
        """
        known = self._known.get(workload)
        if known is None:
            known = self._looked_up(workload)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[workload] = known
        return known if known.custody is None else replace(known, holder=self._custody.holder(workload.id))

    def _looked_up(self, workload: Workload) -> Caller:
        for pattern, row, ward in self._rows:
            if covers(pattern, workload.id):
                return replace(
                    row,
                    name=row.name if pattern == workload.id else workload.id,
                    holder=workload.key if row.holder is None else row.holder,
                    channel=workload.proven,
                    spiffe=workload.id,
                    certificate=workload.certificate,
                    custody=None if ward is None else principal_of(ward, workload.id),
                )
        raise UnauthenticatedError(f"no caller is configured for `{clip(workload.id)}`")


def principal_of(agent: AgentSettings, name: str | None = None) -> Principal:
    """Return who an agent is.

    Args:
        agent: as it is configured.
        name: its id, where a pattern is configured.

    Raises:
        ConfigurationError: it cannot be that.
    """
    try:
        return Principal(
            id=name or agent.id, kind=agent.kind, owner=agent.owner, under=agent.under, review=agent.review
        )
    except ValidationError as error:
        raise ConfigurationError(f"agent `{agent.id}`: {explain(error)}") from None


def by_channel(workloads: Workloads, callers: Callers) -> Callable[[Mapping[str, str | bytes], Any], Identity]:
    """Return what says who is calling over mutual TLS.

    Args:
        workloads: verifies the peer's certificates, on every call anew.
        callers: who of them is a caller.
    """

    def identify(metadata: Mapping[str, str | bytes], context: Any) -> Identity:  # noqa: ANN401  # gRPC's context
        if "authorization" in metadata:
            raise UnauthenticatedError("a credential beside that of the channel: only one may speak for a caller")
        chain = _shown(context.auth_context())
        workload = workloads.channel(chain)

        def again() -> None:
            workloads.channel(chain)

        return Identity(callers.of(workload), workload.until, again)

    return identify


def _shown(properties: Mapping[str, Sequence[bytes]]) -> bytes:
    """Return what a peer showed, PEM: first the certificate that it proved, then all others.

    Whoever calls may send anybody's certificate along, and a server's gRPC leaves the proven one out of what was sent.
    """
    proven, sent = (b"".join(properties.get(name) or ()) for name in (LEAF, SENT))
    return proven + sent.removeprefix(proven) if proven else b""


def by_token(verify: Callable[[str], N], caller_of: Callable[[N], Caller]) -> Callable[[str], Identity]:
    """Return what says whom a signed token speaks for: it names somebody and proves no holder.

    Args:
        verify: the token, on every call anew.
        caller_of: which caller it is that the token names.
    """

    def identify(token: str) -> Identity:
        named = verify(token)

        def again() -> None:
            verify(token)

        return Identity(caller_of(named), named.until, again)

    return identify


def exactness(pattern: str) -> tuple[bool, int, bool]:
    """Order patterns: an id itself, then the longest, and of two as long the one for a single segment."""
    return not pattern.endswith("*"), len(pattern.rstrip("*")), not pattern.endswith("**")
