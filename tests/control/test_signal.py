"""Security events of others: each takes effect on the next call, once; and what is not one is refused with its code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from chain import jws
from chain.base64url import b64decode, b64encode
from chain.bundles import default
from chain.caller import Caller, Role
from chain.key import THUMBPRINT_URI, KeySigner
from chain.ledger import decode
from chain.principal import Principal
from chain.reason import Reason
from chain.signal import EVENTS, KINDS, SET_TYPE, Kind, Transmitter
from tests.control.material import IDP, IDP_KEY, TRUSTED, agent, event, refused, tell, worker
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOME,
    MALLORY,
    NOW,
    World,
    ec_signer,
    forge,
    honest,
    mac,
    root,
    seal,
    signer,
)

Json = dict[str, Any]
AUDITOR = Caller("auditor", frozenset({Role.AUDITOR}))
RULES = {
    "rules.cedar": """
@id("call.any") permit (principal, action in [Chain::Action::"read", Chain::Action::"write", Chain::Action::"act"],
    resource);
@id("hop.any") permit (principal, action == Chain::Action::"delegate", resource);
@id("risk") forbid (principal, action, resource) when { principal.risk == "high" };
@id("assurance") forbid (principal, action, resource) when { principal.assurance == "nist-aal1" };
@id("label") forbid (principal, action, resource) when { principal.labels.contains("credential-update") };
"""
}


@pytest.fixture
def world() -> World:
    return World(transmitters=[TRUSTED])


@pytest.fixture
def ruled(world: World) -> World:
    """A world whose policy asks how principals stand."""
    bundle = {name: text for name, text in default().items() if name.endswith("schema")} | RULES
    world.authority.policies.activate(world.caller, bundle)
    return world


def test_risk_turns_the_next_call_and_back(ruled: World) -> None:
    tokens = honest()
    ruled.allowed(tokens, CAROL)
    told = tell(ruled, "risk-level-change", agent(3), level="medium")
    assert (told.principals, told.repeated) == ((agent(3),), False)
    ruled.allowed(tokens, CAROL)
    tell(ruled, "risk-level-change", agent(3), level="high")
    decision = ruled.denied(Reason.POLICY_DENIED, None, tokens, CAROL)
    assert "risk" in decision.findings[0].detail
    tell(ruled, "risk-level-change", agent(3), level="low")
    ruled.allowed(tokens, CAROL)


def test_a_decision_says_how_those_of_its_chain_stood(ruled: World) -> None:
    def posture() -> object:
        return decode(ruled.store.records()[-1][0]).body.get("posture")

    tokens = honest()
    ruled.allowed(tokens, CAROL)
    assert posture() is None, "nobody said anything"
    tell(ruled, "risk-level-change", agent(2), level="medium")
    ruled.allowed(tokens, CAROL)
    assert posture() == [[1, "medium", "", []]]
    tell(ruled, "risk-level-change", agent(3), level="high")
    ruled.denied(Reason.POLICY_DENIED, None, tokens, CAROL)
    assert posture() == [[1, "medium", "", []], [2, "high", "", []]]
    gate = replace(ruled.caller, roles=frozenset({Role.ENFORCEMENT_POINT}))
    for reader, told in ((AUDITOR, True), (gate, False)):
        (*_, last) = ruled.authority.watch.records(reader, 0, ["decided"]).records
        assert last.members["tool"] == "mail.read", "of its own call a gate is told the rest"
        assert ("posture" in last.members) is told


def test_risk_of_anybody_in_the_chain_counts(ruled: World) -> None:
    tokens = honest()
    for place in (1, 2):
        ruled.allowed(tokens, CAROL)
        tell(ruled, "risk-level-change", agent(place), level="high")
        assert not ruled.ask(tokens, CAROL).allowed
        tell(ruled, "risk-level-change", agent(place), level="low")


def test_the_default_policy_lets_a_suspect_only_read(world: World) -> None:
    world.authority.policies.activate(world.caller, default())
    tokens = honest(1)
    world.allowed(tokens, ALICE)
    tell(world, "risk-level-change", agent(1), level="high")
    assert not world.ask(tokens, ALICE, "bank.pay").allowed
    assert not world.ask(tokens, ALICE).allowed


def test_a_worker_stands_as_its_agent_does(ruled: World) -> None:
    inner, outer = signer("inner"), signer("outer")
    worker(ruled, inner, f"{agent(1)}/worker")
    worker(ruled, outer, "spiffe://elsewhere.org/worker", under=ALICE.key.thumbprint)
    chains = [([seal(root(key))], key) for key in (inner, outer)]
    for tokens, key in chains:
        ruled.allowed(tokens, key)
    for name in (f"{agent(1)}/worker", "spiffe://elsewhere.org/worker"):
        tell(ruled, "risk-level-change", name, level="medium")  # of its own
    tell(ruled, "risk-level-change", agent(1), level="high")
    for tokens, key in chains:
        ruled.denied(Reason.POLICY_DENIED, None, tokens, key)
    tell(ruled, "risk-level-change", agent(1), level="low")
    for tokens, key in chains:
        ruled.allowed(tokens, key)


def test_assurance_and_credentials_reach_the_policy(ruled: World) -> None:
    tokens = honest(1)
    tell(ruled, "assurance-level-change", agent(1), level="nist-aal2")
    ruled.allowed(tokens, ALICE)
    tell(ruled, "assurance-level-change", agent(1), level="nist-aal1")
    ruled.denied(Reason.POLICY_DENIED, None, tokens, ALICE)
    tell(ruled, "assurance-level-change", agent(1), level="nist-aal3")
    ruled.allowed(tokens, ALICE)
    tell(ruled, "credential-change", agent(1), change="create")
    ruled.allowed(tokens, ALICE)
    tell(ruled, "credential-change", agent(1), change="update")
    ruled.denied(Reason.POLICY_DENIED, None, tokens, ALICE)


@pytest.mark.parametrize("change", ["revoke", "delete"])
def test_a_credential_that_is_gone_takes_what_its_key_holds(world: World, change: str) -> None:
    second = signer("second")
    worker(world, second, agent(1))
    first, other = [seal(root(ALICE))], [seal(root(second))]
    tell(world, "credential-change", ALICE.key.thumbprint, change=change)
    world.denied(Reason.REVOKED, 0, first, ALICE)
    world.allowed(other, second)


def test_a_session_that_is_revoked_takes_all_that_the_subject_holds(world: World) -> None:
    tokens = honest()
    second = signer("second")
    worker(world, second, agent(2))
    other = [seal(root(second, jti="second"))]
    world.allowed(tokens, CAROL)
    told = tell(world, "session-revoked", agent(2), claims={"reason_admin": {"en": "left\nthe house"}})
    assert told.principals == (agent(2),)
    world.denied(Reason.REVOKED, 1, tokens, CAROL)
    world.denied(Reason.REVOKED, 0, other, second)
    world.allowed(tokens[:1], ALICE)
    (body,) = [json.loads(data)["body"] for data, _ in world.store.records(kind="signalled")]
    assert body["cause"] == "left the house"
    assert body["keys"] == sorted((agent(2), BOB.key.thumbprint, second.key.thumbprint))


SUBJECTS: list[Json | str] = [
    agent(3),
    {"format": "uri", "uri": agent(3)},
    {"format": "uri", "uri": THUMBPRINT_URI + CAROL.key.thumbprint},
    {"format": "opaque", "id": agent(3)},
    {"format": "opaque", "id": CAROL.key.thumbprint},
    {"format": "opaque", "id": "dana@example.org"},
    {"format": "jkt", "jkt": CAROL.key.thumbprint},
    {"format": "iss_sub", "iss": "https://idp.example", "sub": agent(3)},
    {"format": "iss_sub", "iss": "https://idp.example", "sub": "dana@example.org"},
    {"format": "email", "email": "dana@example.org"},
    {"format": "account", "uri": "acct:dana@example.org"},
    {"format": "complex", "user": {"format": "email", "email": "dana@example.org"}},
    {
        "format": "complex",
        "user": {"format": "uri", "uri": agent(3)},
        "device": {"format": "jkt", "jkt": CAROL.key.thumbprint},
    },
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_a_subject_is_known_in_each_form(ruled: World, subject: Json | str) -> None:
    tokens = honest()
    ruled.authority.enrol(ruled.caller, CAROL.key, Principal(id=agent(3), owner="dana@example.org"))
    ruled.allowed(tokens, CAROL)
    assert tell(ruled, "risk-level-change", subject, level="high").principals == (agent(3),)
    assert not ruled.ask(tokens, CAROL).allowed
    ruled.allowed(tokens[:2], BOB)


def test_parts_of_a_complex_subject_name_the_same_one(world: World) -> None:
    text = event(world, "session-revoked", {
        "format": "complex",
        "user": {"format": "uri", "uri": agent(3)},
        "device": {"format": "jkt", "jkt": BOB.key.thumbprint},
    })  # fmt: skip
    assert refused(world, text) == "invalid_request"
    world.allowed(honest(), CAROL)


def changed(**claims: object) -> Callable[[World], str]:
    """The right event with other claims; None leaves one out."""

    def make(world: World) -> str:
        payload = {name: value for name, value in (right(world) | claims).items() if value is not None}
        return sealed(payload)

    return make


def right(world: World) -> Json:
    text = event(world, "risk-level-change", agent(3), level="high")
    made: Json = json.loads(b64decode(text.split(".")[1].encode()))
    return made


def sealed(payload: Json | bytes, by: KeySigner = IDP_KEY, header: Json | None = None) -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return jws.join({"typ": SET_TYPE} if header is None else header, raw, by)


def risk(**claims: object) -> Callable[[World], str]:
    happened = {"current_level": "HIGH", "event_timestamp": NOW} | claims
    return changed(events={EVENTS + "risk-level-change": {n: v for n, v in happened.items() if v is not None}})


def one(kind: Kind, **claims: object) -> Callable[[World], str]:
    return changed(events={EVENTS + kind: claims})


def about(**subject: object) -> Callable[[World], str]:
    return changed(sub_id=subject)


def _doubled(world: World) -> str:
    raw = json.dumps(right(world)).encode()
    return sealed(raw.replace(b'"HIGH"', b'"LOW", "current_level": "HIGH"'))


def _second_iss(world: World) -> str:
    raw = json.dumps(right(world)).encode()
    return sealed(raw[:-1] + b', "iss": "https://idp.example"}')


def _with_public_key_as_secret(world: World) -> str:
    header, payload = {"alg": "HS256", "typ": SET_TYPE}, right(world)
    secret = IDP_KEY.key.to_json()
    signing = forge(header, payload, b"").rpartition(".")[0]
    return f"{signing}.{b64encode(mac(signing.encode(), secret.encode()))}"


def _flipped(world: World) -> str:
    text = sealed(right(world))
    return text[:-2] + ("A" if text[-2] != "A" else "B") + text[-1]


BAD: dict[str, tuple[Callable[[World], str], str]] = {
    "nothing": (lambda _: "", "invalid_request"),
    "no token": (lambda _: "a.b", "invalid_request"),
    "not ascii": (lambda _: "é.é.é", "invalid_request"),
    "too large": (changed(txn="x" * 20_000), "invalid_request"),
    "padded": (lambda world: sealed(right(world)) + "==", "invalid_request"),
    "another type": (lambda world: sealed(right(world), header={"typ": "JWT"}), "invalid_request"),
    "no type": (lambda world: sealed(right(world), header={}), "invalid_request"),
    "critical": (lambda world: sealed(right(world), header={"typ": SET_TYPE, "crit": ["x"]}), "invalid_request"),
    "no signature": (lambda world: forge({"alg": "none", "typ": SET_TYPE}, right(world), b""), "invalid_key"),
    "a public key as secret": (_with_public_key_as_secret, "invalid_key"),
    "another algorithm": (lambda world: sealed(right(world), ec_signer("idp")), "invalid_key"),
    "another key": (lambda world: sealed(right(world), MALLORY), "authentication_failed"),
    "a flipped bit": (_flipped, "authentication_failed"),
    "an unknown transmitter": (changed(iss="https://evil.example"), "invalid_issuer"),
    "a transmitter in other case": (changed(iss="https://IDP.example"), "invalid_issuer"),
    "no transmitter": (changed(iss=None), "invalid_request"),
    "a transmitter that is a list": (changed(iss=[IDP]), "invalid_request"),
    "for another authority": (changed(aud="https://other.example"), "invalid_audience"),
    "for several others": (changed(aud=["https://a.example", "https://b.example"]), "invalid_audience"),
    "for nobody": (changed(aud=None), "invalid_request"),
    "for an empty list": (changed(aud=[]), "invalid_request"),
    "expires": (changed(exp=NOW + 60), "invalid_request"),
    "has a subject of old": (changed(sub=agent(3)), "invalid_request"),
    "from the future": (changed(iat=NOW + 31), "invalid_request"),
    "too old": (changed(iat=NOW - 24 * 3600), "invalid_request"),
    "no time": (changed(iat=None), "invalid_request"),
    "a time that is a text": (changed(iat=str(NOW)), "invalid_request"),
    "a time below zero": (changed(iat=-1), "invalid_request"),
    "no name": (changed(jti=None), "invalid_request"),
    "an empty name": (changed(jti=""), "invalid_request"),
    "a member twice": (_doubled, "invalid_request"),
    "an issuer twice": (_second_iss, "invalid_request"),
    "no object": (lambda _: sealed(b"[]"), "invalid_request"),
    "deeply nested": (lambda _: sealed(b'{"a":' + b"[" * 6000 + b"]" * 6000 + b"}"), "invalid_request"),
    "not JSON": (lambda _: sealed(b"{"), "invalid_request"),
    "no event": (changed(events={}), "invalid_request"),
    "no events": (changed(events=None), "invalid_request"),
    "two events": (
        changed(events={EVENTS + "session-revoked": {}, EVENTS + "credential-change": {}}),
        "invalid_request",
    ),
    "an unknown event": (changed(events={EVENTS + "device-compliance-change": {}}), "invalid_request"),
    "a kind without its URI": (changed(events={"session-revoked": {}}), "invalid_request"),
    "an event in other case": (changed(events={EVENTS + "Session-Revoked": {}}), "invalid_request"),
    "an event that is a list": (changed(events={EVENTS + "session-revoked": []}), "invalid_request"),
    "a level that is not known": (risk(current_level="EXTREME"), "invalid_request"),
    "a level in small letters": (risk(current_level="high"), "invalid_request"),
    "no level": (risk(current_level=None), "invalid_request"),
    "a time in milliseconds": (risk(event_timestamp=NOW * 1000), "invalid_request"),
    "assurance of no space": (one("assurance-level-change", current_level="x"), "invalid_request"),
    "a credential of no type": (one("credential-change", change_type="revoke"), "invalid_request"),
    "a change that is not known": (
        one("credential-change", credential_type="x509", change_type="lost"),
        "invalid_request",
    ),
    "about nobody": (changed(sub_id=None), "invalid_request"),
    "about a text": (changed(sub_id=agent(3)), "invalid_request"),
    "no format": (about(uri=agent(3)), "invalid_request"),
    "a format that is not known": (about(format="phone_number", phone_number="+1"), "invalid_request"),
    "a format that is a list": (about(format=["uri"], uri=agent(3)), "invalid_request"),
    "a member too many": (about(format="uri", uri=agent(3), id="x"), "invalid_request"),
    "a member missing": (about(format="iss_sub", sub=agent(3)), "invalid_request"),
    "an empty member": (about(format="uri", uri=""), "invalid_request"),
    "another URI": (about(format="uri", uri="https://example.org/agent/3"), "invalid_request"),
    "a bad thumbprint": (about(format="jkt", jkt="short"), "invalid_request"),
    "a complex one of nothing": (about(format="complex"), "invalid_request"),
    "a complex one with a tenant": (
        about(format="complex", user={"format": "uri", "uri": agent(3)}, tenant={"format": "opaque", "id": "t"}),
        "invalid_request",
    ),
    "complex in complex": (about(format="complex", user={"format": "complex"}), "invalid_request"),
    "a stranger": (about(format="uri", uri="spiffe://example.org/nobody"), "invalid_request"),
    "an owner of nobody": (about(format="email", email="nobody@example.org"), "invalid_request"),
    "a key of nobody": (about(format="jkt", jkt=MALLORY.key.thumbprint), "invalid_request"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_event_is_refused_with_its_code(ruled: World, name: str) -> None:
    make, code = BAD[name]
    assert refused(ruled, make(ruled)) == code
    ruled.allowed(honest(), CAROL)
    assert ruled.authority.steering.signal(ruled.caller, sealed(right(ruled))).principals == (agent(3),)
    assert not ruled.ask(honest(), CAROL).allowed


GOOD: dict[str, Callable[[World], str]] = {
    "for several": changed(aud=["https://other.example", HOME]),
    "half a minute ahead": changed(iat=NOW + 30),
    "almost a day old": changed(iat=NOW - 24 * 3600 + 1, events={EVENTS + "session-revoked": {}}),
    "other members": changed(txn="t", toe=NOW, other={"a": [1]}),
    "other members of the event": risk(risk_reason="FOUND_IN_A_BREACH", principal="USER", previous_level="LOW"),
    "no time of its own": risk(event_timestamp=None),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_an_event_is_taken(world: World, name: str) -> None:
    assert world.authority.steering.signal(world.caller, GOOD[name](world)).principals == (agent(3),)


def test_it_counts_once_also_after_a_restart(ruled: World) -> None:
    tokens, text = honest(), event(ruled, "risk-level-change", agent(3), level="high")
    first = ruled.authority.steering.signal(ruled.caller, text)
    tell(ruled, "risk-level-change", agent(3), level="low")
    for _ in range(2):
        head = ruled.store.head
        again = ruled.authority.steering.signal(ruled.caller, text)
        assert (again.principals, again.revision, again.repeated) == (first.principals, first.revision, True)
        assert ruled.store.head == head
        ruled.allowed(tokens, CAROL)
        ruled.authority = ruled.open()
    ruled.clock.now = NOW + 24 * 3600 + 100
    assert refused(ruled, text) == "invalid_request"


def test_a_name_is_used_for_one_event(world: World) -> None:
    tell(world, "risk-level-change", agent(3), level="high", jti="the same")
    other = event(world, "risk-level-change", agent(3), level="low", jti="the same")
    assert refused(world, other) == "invalid_request"


def test_what_is_remembered_is_forgotten_when_it_cannot_come_again(world: World) -> None:
    tell(world, "risk-level-change", agent(3), level="high")
    world.clock.now = NOW + 24 * 3600 - 1  # a leap of more would have to be confirmed
    world.allowed([seal(root(exp=NOW + 10**6))], ALICE)
    assert len(world.authority._desk.live.controls.heard) == 1
    world.clock.now += 200
    for _ in range(8):  # in small steps
        world.allowed([seal(root(exp=NOW + 10**6))], ALICE)
    assert world.authority._desk.live.controls.heard == {}
    assert list(world.store.standing("signal")) == []


def test_what_is_late_does_not_overrule_what_is_newer(ruled: World) -> None:
    tokens = honest(1)
    tell(ruled, "risk-level-change", agent(1), level="high")
    tell(ruled, "risk-level-change", agent(1), level="low", now=NOW - 60)
    ruled.denied(Reason.POLICY_DENIED, None, tokens, ALICE)
    tell(ruled, "risk-level-change", agent(1), level="low")
    ruled.allowed(tokens, ALICE)
    tell(ruled, "risk-level-change", agent(1), level="high", now=NOW - 60)  # what is worse counts all the same
    ruled.denied(Reason.POLICY_DENIED, None, tokens, ALICE)
    tell(ruled, "risk-level-change", agent(1), level="low")
    tell(ruled, "assurance-level-change", agent(1), level="nist-aal2")
    tell(ruled, "assurance-level-change", agent(1), level="nist-aal1", now=NOW - 60)
    ruled.allowed(tokens, ALICE)


def test_how_a_principal_stands_survives_a_restart(ruled: World) -> None:
    tokens = honest(1)
    tell(ruled, "risk-level-change", agent(1), level="high")
    ruled.authority = ruled.open()
    ruled.denied(Reason.POLICY_DENIED, None, tokens, ALICE)
    ruled.allowed([seal(root(BOB))], BOB)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_transmitter_signals_what_it_may(kind: Kind) -> None:
    allowed = World(transmitters=[Transmitter(IDP, (IDP_KEY.key,), frozenset({kind}))])
    barred = World(transmitters=[Transmitter(IDP, (IDP_KEY.key,), KINDS - {kind})])
    level = "HIGH" if kind == "risk-level-change" else "nist-aal1"
    assert tell(allowed, kind, agent(3), level=level, change="update").principals == (agent(3),)
    assert refused(barred, event(barred, kind, agent(3), level=level, change="update")) == "access_denied"


def test_a_transmitter_speaks_of_its_own_trust_domain() -> None:
    world = World(transmitters=[Transmitter(IDP, (IDP_KEY.key,), trust_domains=frozenset({"partner.org"}))])
    key = signer("partner")
    worker(world, key, "spiffe://partner.org/agent")
    assert refused(world, event(world, "session-revoked", agent(3))) == "access_denied"
    assert refused(world, event(world, "session-revoked", MALLORY.key.thumbprint)) == "access_denied"
    assert refused(world, event(world, "session-revoked", "team")) == "access_denied"  # an owner of both
    world.allowed(honest(), CAROL)
    assert tell(world, "session-revoked", "spiffe://partner.org/agent").principals == ("spiffe://partner.org/agent",)
    world.denied(Reason.REVOKED, 0, [seal(root(key))], key)


def test_keys_are_replaced_one_after_the_other() -> None:
    new = ec_signer("new idp")
    world = World(transmitters=[Transmitter(IDP, (IDP_KEY.key, new.key))])
    for key in (IDP_KEY, new):
        assert tell(world, "risk-level-change", agent(1), level="low", by=key).principals == (agent(1),)
    assert refused(world, event(world, "risk-level-change", agent(1), level="low", by=ec_signer("x"))) == (
        "authentication_failed"
    )


def test_a_key_that_nobody_enrolled_can_be_revoked_and_nothing_else_said_of_it(world: World) -> None:
    tokens = [seal(root(MALLORY))]
    world.allowed(tokens, MALLORY)
    assert refused(world, event(world, "risk-level-change", MALLORY.key.thumbprint, level="high")) == "invalid_request"
    assert tell(world, "session-revoked", MALLORY.key.thumbprint).principals == ()
    world.denied(Reason.REVOKED, 0, tokens, MALLORY)


def test_all_that_somebody_answers_for(ruled: World) -> None:
    told = tell(ruled, "risk-level-change", {"format": "opaque", "id": "team"}, level="high")
    assert told.principals == tuple(agent(place) for place in range(4))
    assert not ruled.ask([seal(root(BOB))], BOB).allowed


def test_the_record_holds_no_token(world: World) -> None:
    text = event(world, "risk-level-change", agent(3), level="high", jti="j")
    world.authority.steering.signal(world.caller, text)
    ((data, _),) = world.store.records(kind="signalled")
    body: Mapping[str, object] = json.loads(data)["body"]
    assert body == {
        "kind": "risk-level-change",
        "issuer": IDP,
        "jti": "j",
        "event": b64encode(sha256(text.rpartition(".")[0].encode()).digest()),
        "at": NOW,
        "level": "high",
        "principals": [agent(3)],
        "caller": "embedded",
    }
    assert text.split(".")[2].encode() not in data
