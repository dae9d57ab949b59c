"""Every attribute of the schema arrives, with the value that it should have: one rule for each, which then decides."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from chain.catalog import Catalogue
from chain.control import ORDINARY, Party, Standing
from chain.decision import Effect
from chain.outcome import Judged
from chain.principal import Principal
from chain.reason import Reason
from tests.policy.folder import ANY_HOP, TYPES, activate, agent, bundle, policy, stand
from tests.support import ALICE, BOB, CAROL, ISSUER, NOW, PEP, World, child, root, seal

INTENT = "q" * 43
ROOT = {
    "sub": "user-9",
    "owner": "ops",
    "txn": "task-7",
    "intent": {"digest": INTENT, "alg": "sha-256", "salt": "s"},
    "limits": {"classes": ["read", "act"], "classification": "confidential", "purposes": ["pay", "mail"]},
}
TOOLS = {"mail.read": {"folder": {"constraint_type": "one_of", "values": ["in"]}}, "bank.pay": {}}
CATALOGUE = """
"mail.read" = { class = "read", sensitivity = "low", target = "imap", classification = "internal" }
[ "bank.pay" ]
class = "act"
sensitivity = "high"
target = "core-bank"
classification = "public"
amount = { argument = "amount", currency = "EUR" }
"""


def signed() -> list[str]:
    """Alice's root; Bob, one deeper, gets less and for less long; Carol gets what Bob has."""
    first = seal(root(tools=TOOLS, **{name: value for name, value in ROOT.items() if name != "limits"},
                      limits=ROOT["limits"]))  # fmt: skip
    less = {"classes": ["read", "act"], "classification": "internal", "purposes": ["pay.invoice"]}
    second = seal(child(first, BOB, limits=less, iat=NOW - 5, exp=NOW + 295), ALICE)
    return [first, second, seal(child(second, CAROL, limits=less), BOB)]


FACTS = {"purpose": "pay.invoice.urgent", "intent": INTENT, "labels": ("untrusted_input", "b")}


def asked(world: World, **changed: Any) -> Any:
    facts = FACTS | {"classification": "internal"} | changed
    return world.ask(signed(), CAROL, "bank.pay", {"amount": "12.34567"}, **facts)


@pytest.fixture
def world() -> World:
    made = World()
    stand(made, agent(3), risk="medium", assurance="mfa", labels=("session-revoked",))
    stand(made, agent(1), risk="high")
    return made


CALL = [
    ("principal.id", agent(3), agent(2)),
    ("principal.kind", "agent", "human"),
    ("principal.trust_domain", "example.org", ""),
    ("principal.owner", "team", "ops"),
    ("principal.risk", "medium", "low"),
    ("principal.assurance", "mfa", ""),
    ("principal.labels", {"session-revoked"}, set()),
    ("resource.class", "act", "read"),
    ("resource.sensitivity", "high", "critical"),
    ("resource.target", "core-bank", ""),
    ("resource.classification", "public", "restricted"),
    ("context.purpose", "pay.invoice.urgent", "pay.invoice"),
    ("context.intent", INTENT, ""),
    ("context.labels", {"untrusted_input", "b"}, {"b"}),
    ("context.classification", "internal", "public"),
    ("context.audience", PEP, ""),
    ("context.age", 10, 11),
    ("context.amount", Decimal("12.3457"), Decimal("12.3456")),
    ("context.approvals.count", 0, 1),
    ("context.approvals.by", set(), {agent(1)}),
    ("context.chain.depth", 2, 1),
    ("context.chain.holder.id", agent(3), agent(2)),
    ("context.chain.holder.risk", "medium", "high"),
    ("context.chain.delegator.id", agent(2), agent(1)),
    ("context.chain.delegator.risk", "low", "high"),
    ("context.chain.origin.id", agent(1), agent(3)),
    ("context.chain.origin.risk", "high", "low"),
    ("context.chain.ids", {agent(1), agent(2), agent(3)}, {agent(3)}),
    ("context.chain.kinds", {"agent"}, set()),
    ("context.chain.trust_domains", {"example.org"}, {""}),
    ("context.chain.risks", {"low", "medium", "high"}, {"low"}),
    ("context.chain.issuer", ISSUER, ""),
    ("context.chain.subject", "user-9", ""),
    ("context.chain.task", "task-7", ""),
    ("context.chain.owner", "ops", "team"),
    ("context.chain.intent", INTENT, ""),
    ("context.chain.tools", {"mail.read", "bank.pay"}, {"bank.pay"}),
    ("context.chain.classes", {"read", "act"}, {"read", "write", "act"}),
    ("context.chain.sensitivity", "high", "low"),
    ("context.chain.classification", "internal", "confidential"),
    ("context.chain.purposes", {"pay.invoice"}, {"pay", "mail"}),
    ("context.chain.lifetime", 300, 610),
    ("context.currency", "EUR", ""),
]
"""What a call's rule reads, what is there, and what is not."""


def written(value: Any) -> str:
    if isinstance(value, set):
        return "[" + ", ".join(json.dumps(one) for one in sorted(value)) + "]"
    return f'decimal("{value}")' if isinstance(value, Decimal) else json.dumps(value)


def equals(path: str, value: Any) -> str:
    if value == set():
        return f"{path}.isEmpty()"
    has = "context has amount && " if path == "context.amount" else ""
    return f"{has}{path} == {written(value)}"


@pytest.mark.parametrize(
    ("path", "there", "not_there"), CALL, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_call_is_decided_by_it(world: World, path: str, there: Any, not_there: Any) -> None:
    rule = '@id("only") permit (principal, action == Chain::Action::"act", resource) when {{ {} }};'
    activate(world, ANY_HOP + rule.format(equals(path, there)), **{"catalogue.toml": CATALOGUE})
    decision = asked(world)
    assert decision.effect is Effect.ALLOW, str(decision)
    assert decision.rules == ("only",)
    activate(world, ANY_HOP + rule.format(equals(path, not_there)), **{"catalogue.toml": CATALOGUE})
    decision = asked(world)
    assert (decision.effect, decision.reason, decision.hop) == (Effect.DENY, Reason.POLICY_DENIED, None), str(decision)


HOP = [
    ("resource.depth", 2, 1),
    ("resource.holder.id", agent(3), agent(1)),
    ("resource.delegator.id", agent(2), agent(3)),
    ("resource.origin.id", agent(1), agent(2)),
    ("principal.id", agent(2), agent(3)),
    ("principal.kind", "agent", "issuer"),
    ("resource.ids", {agent(1), agent(2), agent(3)}, {agent(1), agent(2)}),
    ("resource.risks", {"low", "medium", "high"}, {"low", "high"}),
    ("resource.classes", {"read", "act"}, {"act"}),
    ("resource.sensitivity", "high", "critical"),
    ("resource.classification", "internal", "restricted"),
    ("resource.purposes", {"pay.invoice"}, set()),
    ("resource.lifetime", 300, 600),
    ("resource.task", "task-7", ""),
    ("context.approvals.count", 0, 2),
]


@pytest.mark.parametrize(("path", "there", "not_there"), HOP, ids=lambda value: value if isinstance(value, str) else "")
def test_the_last_hop_is_decided_by_it(world: World, path: str, there: Any, not_there: Any) -> None:
    rules = """
    @id("above") permit (principal, action == Chain::Action::"delegate", resource) when {{ resource.depth < 2 }};
    @id("last") permit (principal, action == Chain::Action::"delegate", resource)
    when {{ resource.depth == 2 && {} }};
    @id("call") permit (principal, action in Chain::Action::"call", resource);
    """
    activate(world, rules.format(equals(path, there)), **{"catalogue.toml": CATALOGUE})
    decision = asked(world)
    assert decision.effect is Effect.ALLOW, str(decision)
    activate(world, rules.format(equals(path, not_there)), **{"catalogue.toml": CATALOGUE})
    decision = asked(world)
    assert (decision.effect, decision.reason, decision.hop) == (Effect.DENY, Reason.POLICY_DENIED, 2), str(decision)


def test_the_root_is_a_hop_that_the_issuer_made(world: World) -> None:
    rules = """
    @id("root") permit (principal, action == Chain::Action::"delegate", resource)
    when { resource.depth == 0 && principal.kind == "issuer" && principal.id == "%s" };
    @id("more") permit (principal, action == Chain::Action::"delegate", resource) when { resource.depth > 0 };
    @id("call") permit (principal, action in Chain::Action::"call", resource);
    """
    activate(world, rules % ISSUER, **{"catalogue.toml": CATALOGUE})
    assert asked(world).effect is Effect.ALLOW
    activate(world, rules % "https://other.example", **{"catalogue.toml": CATALOGUE})
    assert (asked(world).reason, asked(world).hop) == (Reason.POLICY_DENIED, 0)


ANN = Party("ann", Principal(id="spiffe://acme.test/human/ann", kind="human", owner="desk"), Standing(assurance="mfa"))
WORKER = Party("w", Principal(id="spiffe://acme.test/worker", kind="service", owner="team"), ORDINARY)
STRANGER = Party("thumb", None, ORDINARY)
JUDGED = Judged(
    ANN, WORKER, (STRANGER, WORKER), "bank.pay", "user-9", "task-7", "pay", Decimal(5), emergency=True, currency="EUR"
)

APPROVE = [
    ("principal.id", "spiffe://acme.test/human/ann", "ann"),
    ("principal.kind", "human", "agent"),
    ("principal.owner", "desk", "team"),
    ("principal.assurance", "mfa", ""),
    ("resource.sensitivity", "critical", "low"),
    ("context.requester.id", "spiffe://acme.test/worker", "key:thumb"),
    ("context.subject", "user-9", ""),
    ("context.task", "task-7", ""),
    ("context.purpose", "pay", ""),
    ("context.amount", Decimal("5.0"), Decimal("6.0")),
    ("context.currency", "EUR", ""),
    ("context.emergency", True, False),
]


@pytest.mark.parametrize(("path", "there", "not_there"), APPROVE, ids=lambda v: v if isinstance(v, str) else "")
def test_an_approver_is_judged_by_it(path: str, there: Any, not_there: Any) -> None:
    rule = '@id("only") permit (principal, action == Chain::Action::"approve", resource) when {{ {} }};'
    assert policy(bundle(rule.format(equals(path, there)))).approver(JUDGED).permitted
    assert not policy(bundle(rule.format(equals(path, not_there)))).approver(JUDGED).permitted


def test_an_approver_is_judged_by_who_is_in_the_chain() -> None:
    rule = """
    @id("only") permit (principal, action == Chain::Action::"approve", resource)
    when {{ context.ancestors.contains(Chain::Principal::"{}") }};
    """
    assert policy(bundle(rule.format("key:thumb"))).approver(JUDGED).permitted
    assert not policy(bundle(rule.format("spiffe://acme.test/human/ann"))).approver(JUDGED).permitted


def test_an_amount_that_is_more_than_can_be_compared_is_never_simply_left_out() -> None:
    """Otherwise `context has amount` would be false for the largest of all."""
    rules = """
    @id("any") permit (principal, action == Chain::Action::"approve", resource);
    @id("large") forbid (principal, action == Chain::Action::"approve", resource)
    when { context has amount && context.amount.greaterThan(decimal("1000.0")) };
    """
    ruled = policy(bundle(rules))
    assert ruled.approver(JUDGED).permitted
    assert not ruled.approver(JUDGED._replace(amount=Decimal(2000))).permitted
    refused = ruled.approver(JUDGED._replace(amount=Decimal(10) ** 15))
    assert not refused.permitted
    assert refused.fault == "the amount is more than a policy can compare"


def test_what_nobody_says_of_a_tool_or_a_holder_is_the_worst() -> None:
    stranger = Party("thumb", None, ORDINARY)
    rule = """
    @id("only") permit (principal, action == Chain::Action::"approve", resource)
    when { resource.class == "act" && resource.sensitivity == "critical" && resource.classification == "restricted"
        && resource.target == "" && principal.kind == "unknown" && principal.trust_domain == ""
        && principal.id == "key:thumb" && principal.owner == "" };
    """
    ruled = policy(bundle(rule), Catalogue().model_dump())
    assert ruled.approver(JUDGED._replace(approver=stranger)).permitted
    assert not ruled.approver(JUDGED).permitted


def test_the_lists_above_leave_no_attribute_out() -> None:
    """What the schema declares, and what the tests above ask for."""
    asked_for = {path.rpartition(".")[2] for path, *_ in (*CALL, *HOP, *APPROVE)}
    body = re.sub(r"//[^\n]*", "", TYPES)
    declared = set(
        re.findall(r"(\w+)\??: (?:String|Long|Bool|decimal|Set<\w+>|Principal|Delegation|Approvals)(?!\w)", body)
    )
    bridges = {"ancestors", "chain", "holder", "delegator", "origin", "requester", "approvals", "principal", "resource"}
    assert declared - bridges <= asked_for
    assert asked_for <= declared
