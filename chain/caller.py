"""Who may ask what: callers, their roles, and the one table of methods.

The law of this file: identity is not authority, and a method that is not in the table is nobody's. Names in a
request prove nothing; a caller is what its credential says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from chain.errors import ForbiddenError
from chain.principal import Principal, covers


class Role(StrEnum):
    """What a caller of the service is for."""

    ISSUER = "issuer"
    AGENT = "agent"
    ENFORCEMENT_POINT = "enforcement_point"
    APPROVER = "approver"
    AUDITOR = "auditor"
    OPERATOR = "operator"


_AGENTS = frozenset({Role.AGENT, Role.OPERATOR})
_ASKERS = frozenset({Role.AGENT, Role.ENFORCEMENT_POINT})
_READERS = frozenset({Role.AGENT, Role.ENFORCEMENT_POINT, Role.ISSUER, Role.AUDITOR, Role.OPERATOR})
_OVERSEERS = frozenset({Role.AUDITOR, Role.OPERATOR})
_JUDGES = _OVERSEERS | {Role.APPROVER}

ALLOWED: dict[str, frozenset[Role]] = {
    "Issue": frozenset({Role.ISSUER}),
    "Delegate": frozenset({Role.AGENT}),
    "Revoke": frozenset({Role.AGENT, Role.ISSUER, Role.OPERATOR}),
    "Enrol": _AGENTS,
    "GetOwnKey": frozenset({Role.AGENT}),
    "GetDelegation": _READERS - {Role.ENFORCEMENT_POINT},
    "ListDelegations": _READERS - {Role.ENFORCEMENT_POINT},
    "Check": _ASKERS,
    "BatchCheck": _ASKERS,
    "CheckStream": _ASKERS,
    "Explain": _ASKERS | {Role.AUDITOR, Role.OPERATOR},
    "Simulate": _OVERSEERS,
    "ListApprovals": _JUDGES,
    "GetApproval": _JUDGES,
    "ResolveApproval": frozenset({Role.APPROVER}),
    "ValidatePolicy": _OVERSEERS,
    "DiffPolicy": _OVERSEERS,
    "TestPolicy": _OVERSEERS,
    "ActivatePolicy": frozenset({Role.OPERATOR}),
    "GetPolicy": _OVERSEERS,
    "Suspend": frozenset({Role.OPERATOR}),
    "Resume": frozenset({Role.OPERATOR}),
    "ListSuspensions": _OVERSEERS,
    "ListKeys": _OVERSEERS,
    "AddKey": frozenset({Role.OPERATOR}),
    "ActivateKey": frozenset({Role.OPERATOR}),
    "RetireKey": frozenset({Role.OPERATOR}),
    "CompromiseKey": frozenset({Role.OPERATOR}),
    "ReportSignal": frozenset({Role.OPERATOR}),
    "Watch": _READERS | {Role.APPROVER},
    "GetRevision": _READERS | {Role.APPROVER},
    "GetCheckpoint": _READERS | {Role.APPROVER},
    "ListCheckpoints": _OVERSEERS,
    "ProveRecord": _OVERSEERS,
    "ProveConsistency": _OVERSEERS,
    "AddCosignature": _OVERSEERS,
    "Lineage": _OVERSEERS,
    "WhoCan": _OVERSEERS,
    "WhatCan": _OVERSEERS,
    "BlastRadius": _OVERSEERS,
    "LeastCut": _OVERSEERS,
    "Chokepoints": _OVERSEERS,
    "ReviewAccess": _OVERSEERS,
    "DiffDelegations": _OVERSEERS,
    "DiffTimes": _OVERSEERS,
    "ExportGraph": _OVERSEERS,
    "GetStatusList": _READERS,
    "GetServerInfo": _READERS | {Role.APPROVER},
}
"""Method -> the roles that may call it. Deny by default."""


LENT = "x-chain-lent"
"""Metadata by which a caller says that somebody else asks over its connection. It only narrows (`Caller.lending`), so
that anybody may say it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        name: from configuration; scopes idempotency keys and stands in the ledger.
        roles: what it may do.
        audience: the enforcement point that it is, for proofs and `aud`.
        holder: thumbprint of the agent's own key, if it is an agent.
        channel: whether the transport itself proves that the caller is that agent: a socket of its own, or mutual TLS.
        spiffe: SPIFFE id of the caller, if its credential is an SVID.
        certificate: base64url SHA-256 of the certificate that the channel proves (RFC 8705 s3.1).
        vouches: patterns of SPIFFE ids of holders that this enforcement point authenticates by itself
            (`chain.principal.covers`).
        custody: the agent that the caller is and whose key is kept by the service (`chain.custody`); None for one that
            holds its own.
        lends: whether somebody else asks over this caller's connection, who has to prove itself.
    """

    name: str
    roles: frozenset[Role]
    audience: str | None = None
    holder: str | None = None
    channel: bool = False
    spiffe: str | None = None
    certificate: str | None = None
    vouches: tuple[str, ...] = ()
    custody: Principal | None = None
    lends: bool = False

    def lending(self) -> Caller:
        """Return what this caller is where somebody else asks over its connection: an asker of whom nothing is known.

        No role but an agent's, or an enforcement point's where it is no agent, and nothing that this caller's own
        credential proves, or lets it say of others.
        """
        return replace(
            self,
            roles=(self.roles & {Role.AGENT}) or (self.roles & {Role.ENFORCEMENT_POINT}),
            holder=None,
            channel=False,
            spiffe=None,
            certificate=None,
            vouches=(),
            custody=None,
            lends=True,
        )

    def require(self, method: str) -> None:
        """Return where a role of this caller allows the method.

        Raises:
            ForbiddenError: none does.
        """
        if ALLOWED.get(method, frozenset()).isdisjoint(self.roles):
            raise ForbiddenError(f"`{self.name}` has no role that may call {method}")

    def require_vouching(self, spiffe: str) -> None:
        """Return where this caller's word is enough for who a holder is.

        Raises:
            ForbiddenError: it is no enforcement point, or may not vouch for that id.
        """
        may = Role.ENFORCEMENT_POINT in self.roles and any(covers(pattern, spiffe) for pattern in self.vouches)
        if not may:
            raise ForbiddenError(f"`{self.name}` may not vouch for that holder")

    @property
    def names(self) -> frozenset[str]:
        """What the tokens that it holds may call it, as far as its credential says so (`chain.live.Live.names_of`)."""
        return frozenset(name for name in (self.holder, self.spiffe) if name is not None)

    @property
    def only_agent(self) -> bool:
        """Whether no other role opens to this caller what an agent may not see."""
        return self.lends or self.roles == {Role.AGENT}

    @property
    def revokes_all(self) -> bool:
        """Whether a role alone allows revoking; an agent needs a chain of its own for it."""
        return not self.roles.isdisjoint({Role.ISSUER, Role.OPERATOR})

    @property
    def sees_all(self) -> bool:
        """Whether lineage of others is open to this caller."""
        return not self.roles.isdisjoint({Role.ISSUER, Role.AUDITOR, Role.OPERATOR})

    @property
    def proven_holder(self) -> str | None:
        """The key that the channel proves, if it proves one."""
        return self.holder if self.channel else None

    @property
    def proven_spiffe(self) -> str | None:
        """The SPIFFE id that the channel proves, if it proves one: a JWT-SVID does not, whoever has it can send it."""
        return self.spiffe if self.channel else None

    @property
    def proven_certificate(self) -> str | None:
        """The certificate that the channel proves, if it proves one."""
        return self.certificate if self.channel else None


def embedded(audience: str | None = None) -> Caller:
    """Return the caller that a program is which embeds an `Authority`: it holds the keys, so it has every role.

    Args:
        audience: the enforcement point that the program is.
    """
    return Caller(name="embedded", roles=frozenset(Role), audience=audience)
