"""How an authority is configured, as far as an auditor has to know it.

The law of this file: values only. No secret is among them, no name of a file and no address: what is told is whether a
control is on and how far it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is on.

    Attributes:
        policy: digest of the active bundle; empty where none is.
        gates: rules of it that hold calls back until people have approved.
        shadow: kinds of refusals that are answered and not enforced.
        profile: `sound` or `aat-01`.
        kept: whether the ledger outlives the process.
        all_synced: whether every record survives power loss before its answer leaves, reads' included.
        tls: whether bearer secrets are taken over TLS.
        mutual_tls: whether workloads call with X.509-SVIDs.
        sockets: whether callers have sockets of their own.
        tokens: whether workloads call with JWT-SVIDs.
        people: whether people call with tokens of an OpenID provider.
        custody: whether keys of agents are kept here.
        keys: state -> how many of the issuer's keys are in it.
        calls, denials, delegations, outstanding: limits of the pace (`chain.pace.Breaker`); 0 for none.
        lifetime: seconds that a root with a critical tool may live.
        must_name: what a root is not issued without.
        tools: how many the catalogue lists.
        status_list: whether roots are listed for verifiers who ask nobody.
        transmitters: whose security events are taken: how many keys.
        checkpoints: whether what the record holds is signed.
        witnessed: whether somebody else keeps what was signed: a copy elsewhere, or witnesses.
        vouching: enforcement points whose word is taken for holders that they authenticated themselves.
    """

    policy: str = ""
    gates: int = 0
    shadow: tuple[str, ...] = ()
    profile: str = ""
    kept: bool = False
    all_synced: bool = False
    tls: bool = False
    mutual_tls: bool = False
    sockets: bool = False
    tokens: bool = False
    people: bool = False
    custody: bool = False
    keys: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    denials: int = 0
    delegations: int = 0
    outstanding: int = 0
    lifetime: int = 0
    must_name: tuple[str, ...] = ()
    tools: int = 0
    status_list: bool = False
    transmitters: int = 0
    checkpoints: bool = False
    witnessed: bool = False
    vouching: int = 0
