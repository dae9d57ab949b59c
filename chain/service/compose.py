"""From settings to the authority and the callers that they describe.

The law of this file: what is written in the configuration is read strictly, once, before anything listens. The
store and the issuer's signer come from outside: an authority never picks them.
"""

from __future__ import annotations

import json
import os
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from chain import jcs
from chain.anchor import Ceiling, TrustAnchor
from chain.authority import Authority
from chain.caller import Caller, Role
from chain.catalog import Catalogue
from chain.certifying import Certifier
from chain.containment import Profile
from chain.custody import Custodian, Custody
from chain.desk import Clock, Entropy
from chain.errors import ConfigurationError, StoreError
from chain.key import KeyRefusedError, PublicKey, Signer
from chain.keyring import KeyRing
from chain.ledger import Store
from chain.notary import Notary
from chain.note import NoteError
from chain.pace import Breaker
from chain.principal import Principal, covers
from chain.reason import Reason
from chain.service.callers import Row, exactness, principal_of
from chain.service.credentials import Credential, Identity
from chain.service.people import Description
from chain.service.safety import require_safe
from chain.service.settings import ServeSettings, explain
from chain.service.tables import AgentSettings, AnchorSettings, CallerSettings, SignalSettings
from chain.signal import Transmitter
from chain.state import Settings
from chain.token import Rules, Verifier

_CONFIGURATION = Caller(name="configuration", roles=frozenset({Role.OPERATOR}))
"""Who enrols the agents that the configuration lists."""

MANY = 64
"""Callers that one pattern of SPIFFE ids, or one description of people by their claims, is taken for."""

SHADOWS = {
    "policy": frozenset({Reason.POLICY_DENIED}),
    "class": frozenset({Reason.CLASS_NOT_GRANTED}),
}
"""What each kind of shadow leaves unenforced."""


def compose(  # noqa: PLR0913 - everything from outside comes in here, by name
    settings: ServeSettings,
    store: Store,
    *,
    signer: Signer | Certifier | None = None,
    ring: KeyRing | None = None,
    custodian: Custodian | None = None,
    notary: Notary | None = None,
    policy: Mapping[str, str] | None = None,
    clock: Clock = time.time,
    entropy: Entropy = os.urandom,
    steady: Clock | None = None,
) -> Authority:
    """Return the authority that the settings describe, with its agents enrolled.

    Args:
        settings: what the server was told.
        store: its ledger; the authority owns it from here on.
        signer: the issuer's key; or a KMS that certifies such keys, and is trusted for `issuer` alone.
        ring: the issuer's keys instead; the authority owns it as it does the store.
        custodian: keeps the keys of agents that hold none.
        notary: signs for the record.
        policy: files of the bundle to begin with, where the ledger says nothing of a policy.
        clock, entropy: the outside world.
        steady: seconds that pass however the clock is set; a real server has them.

    Raises:
        ConfigurationError: the settings are unsafe, or a file of theirs cannot be used.
    """
    require_safe(settings)
    anchors = [anchor_of(anchor) for anchor in settings.anchors]
    if isinstance(signer, Certifier) and not any(each.certifies and each.key == signer.signer.key for each in anchors):
        anchors.append(TrustAnchor(signer.signer.key, settings.issuer, certifies=True))
    verifier = Verifier(anchors, Rules(Profile(settings.profile), settings.labels))
    authority = Authority(
        store,
        verifier,
        clock=clock,
        entropy=entropy,
        audience=settings.audience,
        signer=signer,
        ring=ring,
        issuer=settings.issuer or "",
        catalogue=_catalogue(settings.catalogue),
        settings=Settings(
            Profile(settings.profile),
            settings.labels,
            settings.max_lifetime,
            default_lifetime=settings.default_lifetime,
            lifetimes=settings.lifetimes.ceilings,
            roots_must_name=settings.roots_must_name,
            approval_lifetime=settings.approval_lifetime,
            max_waiting=settings.max_waiting,
            max_waiting_root=settings.max_waiting_root,
            max_waiting_all=settings.max_waiting_all,
            max_workers=settings.max_workers,
            status_list=settings.status_list,
            shadow=frozenset(reason for kind in settings.shadow for reason in SHADOWS[kind]),
        ),
        steady=steady,
        resume=settings.accept_clock,
        breaker=Breaker(**settings.pace.model_dump()),
        transmitters=_transmitters(settings.signals),
        custodian=custodian,
        notary=notary,
    )
    _require_continued(authority, settings)  # before anything is written: a ledger that is refused stays as it was
    if policy is not None and authority.policies.activated(_CONFIGURATION) is None:
        authority.policies.activate(_CONFIGURATION, policy)
    _enrol(authority, settings, store)
    return authority


def _require_continued(authority: Authority, settings: ServeSettings) -> None:
    """Return where the ledger continues its last checkpoint and the copy, or somebody accepted that it does not.

    Raises:
        ConfigurationError: it does not, as after a restored backup; the copy is gone or cannot be read; or another key
            signed before, and is not named.
    """
    try:
        authority.audit.start(settings.checkpoints.accept_ledger)
    except (NoteError, StoreError) as error:
        raise ConfigurationError(f"`checkpoints`: {error.detail}") from None


def _enrol(authority: Authority, settings: ServeSettings, store: Store) -> None:
    """Enrol the agents that are configured, and make the keys that are kept for them; each is written once."""
    known = {row.thumbprint: Principal.model_validate_json(row.body) for row in store.enrolments()}
    for agent in settings.agents:
        if agent.custody and agent.id.endswith("*"):  # each of them gets a key when it first asks for it
            principal_of(agent, f"{agent.id.rstrip('*')}any")
        elif agent.custody:
            authority.custody.keep(principal_of(agent))
        else:
            key, principal = _agent(agent)
            if known.get(principal.id if key is None else key.thumbprint) != principal:
                authority.enrol(_CONFIGURATION, key, principal)
    _account(authority.custody, settings, known)


def _account(custody: Custody, settings: ServeSettings, known: Mapping[str, Principal]) -> None:
    """Let the keys that were made for a pattern's ids have the owner that it has now; nobody who calls changes that."""
    patterns = [agent for agent in settings.agents if agent.custody and agent.id.endswith("*")]
    patterns.sort(key=lambda agent: exactness(agent.id), reverse=True)
    exact = {agent.id for agent in settings.agents if agent.custody}
    for thumbprint, principal in known.items() if patterns else ():
        if principal.id not in exact and custody.holder(principal.id) == thumbprint:
            ward = next((agent for agent in patterns if covers(agent.id, principal.id)), None)
            if ward is not None:
                custody.keep(principal_of(ward, principal.id))


def bearers(settings: ServeSettings) -> list[Credential]:
    """Return the secrets of the callers that have any."""
    return [
        Credential(
            bytes.fromhex(credential.sha256),
            Identity(
                _caller(caller, channel=False),
                None if credential.not_after is None else credential.not_after.timestamp(),
            ),
        )
        for caller in settings.callers
        for credential in caller.credentials
    ]


def socketed(settings: ServeSettings, custody: Custody) -> list[Identity]:
    """Return the callers that have a socket: on it, the channel itself proves who they are.

    Args:
        settings: what the server was told.
        custody: the keys that are kept, by now those of all agents with a socket.
    """
    made = []
    for row in settings.callers:
        if row.socket:
            caller, ward = _caller(row, channel=True), _ward(row, settings)
            if ward is not None:
                agent = principal_of(ward)
                caller = replace(caller, holder=custody.holder(agent.id), channel=True, custody=agent)
            made.append(Identity(caller))
    return made


def workers(settings: ServeSettings) -> list[Row]:
    """Return the callers that are known by a SPIFFE id."""
    return [
        Row(row.spiffe, _caller(row, channel=True), _ward(row, settings))
        for row in settings.callers
        if row.spiffe is not None
    ]


def _ward(caller: CallerSettings, settings: ServeSettings) -> AgentSettings | None:
    """Return the agents whose keys are kept for a caller, as they are configured."""
    if caller.ward is None:
        return None
    return next(agent for agent in settings.agents if agent.custody and agent.id == caller.ward)


def persons(settings: ServeSettings) -> list[tuple[Description, Caller]]:
    """Return the callers that are known by an OIDC token, each with whom it means."""
    return [
        (Description(row.oidc.issuer, row.oidc.subject, row.oidc.claims), _caller(row, channel=False))
        for row in settings.callers
        if row.oidc is not None
    ]


def expected(settings: ServeSettings) -> int:
    """Return for how many callers there must be room to take authority away: a pattern stands for many."""
    patterns = sum(row.of_many for row in settings.callers)
    return len(settings.callers) + MANY * patterns


def _caller(caller: CallerSettings, *, channel: bool) -> Caller:
    holder = caller.thumbprint
    if caller.jwk is not None or caller.jwk_file is not None:
        holder = _key(caller.jwk, caller.jwk_file, f"caller `{caller.name}`").thumbprint
    proven = channel and holder is not None
    return Caller(caller.name, caller.roles, caller.audience, holder, proven, vouches=caller.vouches)


def anchor_of(anchor: AnchorSettings) -> TrustAnchor:
    """Return a trust anchor as its settings describe it.

    Raises:
        ConfigurationError: its key cannot be read.
    """
    ceiling = anchor.ceiling
    return TrustAnchor(
        _key(anchor.jwk, anchor.jwk_file, "trust anchor"),
        anchor.iss,
        Ceiling(ceiling.tools, ceiling.classes, ceiling.classification, ceiling.subjects, ceiling.lifetime),
        anchor.certifies,
    )


def _transmitters(signals: Sequence[SignalSettings]) -> list[Transmitter]:
    """Return who may signal; the keys of one issuer are one transmitter's."""
    keys: dict[str, list[PublicKey]] = {}
    for signal in signals:
        keys.setdefault(signal.iss, []).append(_key(signal.jwk, signal.jwk_file, f"signals of `{signal.iss}`"))
    told = {signal.iss: signal for signal in signals}
    return [Transmitter(iss, tuple(keys[iss]), one.may, one.trust_domains) for iss, one in told.items()]


def _agent(agent: AgentSettings) -> tuple[PublicKey | None, Principal]:
    key = None if agent.svid else _key(agent.jwk, agent.jwk_file, f"agent `{agent.id}`")
    return key, principal_of(agent)


def _key(jwk: dict[str, object] | None, file: Path | None, whose: str) -> PublicKey:
    try:
        return PublicKey.from_json(file.read_bytes() if file is not None else json.dumps(jwk))
    except OSError as error:
        raise ConfigurationError(f"{whose}: `{file}`: {error.strerror}") from None
    except KeyRefusedError as error:
        raise ConfigurationError(f"{whose}: {error}") from None


def _catalogue(file: Path | None) -> Catalogue:
    if file is None:
        return Catalogue()
    try:
        data = file.read_bytes()
        return Catalogue.model_validate(tomllib.loads(data.decode()) if file.suffix == ".toml" else jcs.loads(data))
    except OSError as error:
        raise ConfigurationError(f"catalogue `{file}`: {error.strerror}") from None
    except ValidationError as error:
        raise ConfigurationError(f"catalogue `{file}`: {explain(error)}") from None
    except ValueError as error:
        raise ConfigurationError(f"catalogue `{file}`: {error}") from None
