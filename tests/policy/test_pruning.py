"""A context that is cut to what the rules read, and rules that are cut by action, change no answer."""

from __future__ import annotations

import json
from typing import Any

import cedarpy
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import entity
from chain.engine import Engine
from chain.outcome import Asked
from tests.policy.folder import ANY_HOP, agent, bundle, parties, policy, three
from tests.support import World

ATTRIBUTES = frozenset(entity.ATTRIBUTES)
WORLD = World()
CHAIN = WORLD.accepted(three())
PARTIES = parties(WORLD, CHAIN)

ATOMS = [
    "context.age > 5", "context.age + context.age < 100", 'context.purpose == "pay"', 'context.purpose like "p*"',
    'context.labels.contains("x")', "context has amount",
    'context has amount && context.amount.lessThan(decimal("9.0"))',
    "context.approvals.count > 0", 'context.chain.holder.risk == "low"', "context.chain.depth == 2",
    '{"Value": context has amount}["Value"]', "{a: context}.a.age > 3", 'resource.class == "act"',
    "principal == context.chain.holder", 'context["audience"] == ""', "context.age + 9223372036854775807 > 0",
    '(if context.age > 5 then context.intent else context.purpose) == "pay"',
    f'Chain::Principal::"{agent(1)}" has risk', f'Chain::Principal::"{agent(2)}".risk == "low"',
    'Chain::Principal::"https://issuer.example" has id', 'Chain::Principal::"nobody" has risk',
    f'context.chain.ancestors.contains(Chain::Principal::"{agent(2)}")', f'context.chain.ids.contains("{agent(1)}")',
    'context.chain.origin.kind == "agent" && context.chain.delegator.risk == "low"',
    'context.chain.kinds == ["agent"] && context.chain.trust_domains.containsAny(["example.org"])',
    'context.chain.tools.contains("mail.read") || context.chain.classes.contains("act")',
    "context.chain.issuer != context.chain.task && context.chain.lifetime > 60",
    f'Chain::Delegation::"{CHAIN.hops[1].id}" has depth', f'Chain::Delegation::"{CHAIN.hops[1].id}".depth == 1',
    'Chain::Delegation::"nowhere" has depth',
]  # fmt: skip

_conditions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})")
        | inner.map(lambda text: f"!({text})")
    ),
    max_leaves=4,
)
_rules = st.lists(
    st.tuples(
        st.sampled_from(["permit", "forbid", '@approval("2") forbid']),
        st.sampled_from(['in Chain::Action::"call"', '== Chain::Action::"read"', 'in [Chain::Action::"act"]']),
        _conditions,
    ),
    min_size=1,
    max_size=5,
)
_asked = st.builds(
    Asked,
    tool=st.sampled_from(["mail.read", "bank.pay", "unlisted"]),
    purpose=st.sampled_from(["", "pay", "mail"]),
    intent=st.sampled_from(["", "pay"]),
    audience=st.sampled_from(["", "pep"]),
    labels=st.sampled_from([(), ("x",)]),
    classification=st.just("internal"),
    age=st.sampled_from([0, 4, 6, 200]),
    amount=st.none() | st.decimals(0, 20, places=4),
    approvers=st.sampled_from([(), ("ann",)]),
)


def whole(files: dict[str, str], asked: Asked) -> Any:
    """Ask all rules of the bundle at once, about everything, under the schema."""
    ruled = policy(files)
    rules = {rule.id: rule.body for rule in ruled.bundle.rules.values()}
    policies = json.dumps({"staticPolicies": rules, "templates": {}, "templateLinks": []})
    people = {entity.name_of(party): entity.principal(entity.name_of(party), party) for party in PARTIES}
    people[CHAIN.issuer] = entity.issuer(CHAIN.issuer)
    tool = ruled.catalogue.tool(asked.tool)
    known = [
        *people.values(),
        *(entity.delegation(CHAIN, hop, PARTIES, ruled.catalogue, ruled.labels, ATTRIBUTES) for hop in CHAIN.hops),
        entity.tool(asked.tool, tool, ruled.labels),
    ]
    request = {
        "principal": {"type": entity.PRINCIPAL, "id": entity.name_of(PARTIES[-1])},
        "action": {"type": entity.ACTION, "id": tool.action_class},
        "resource": {"type": entity.TOOL, "id": asked.tool},
        "context": json.dumps(entity.call(CHAIN.leaf.id, asked)),
    }
    schema = ruled.bundle.schema
    entities = cedarpy.Entities.from_json_str(json.dumps(known), schema)
    return cedarpy.is_authorized(request, cedarpy.PolicySet.from_json_str(policies), entities, schema)


@settings(max_examples=150, deadline=None)
@given(rules=_rules, asked=_asked)
def test_the_answer_is_that_of_the_whole(rules: list[tuple[str, str, str]], asked: Asked) -> None:
    text = "\n".join(
        f'@id("r{number}") {effect} (principal, action {action}, resource) when {{ {condition} }};'
        for number, (effect, action, condition) in enumerate(rules)
    )
    files = bundle(ANY_HOP + text)
    got = policy(files).call(CHAIN, PARTIES, asked)
    full = whole(files, asked)
    if full.diagnostics.errors or full.decision is cedarpy.Decision.NoDecision:
        assert got.fault is not None
        return
    assert got.fault is None
    assert got.permitted is (full.decision is cedarpy.Decision.Allow)
    if got.permitted:
        assert set(got.rules) == set(full.diagnostics.reasons)


def test_the_default_bundle_is_told_little() -> None:
    """What the pruning is for: a read needs nothing of the context."""
    from chain.bundles import default  # noqa: PLC0415

    slices = Engine(policy(default()).bundle, WORLD.authority._desk.live.settings.labels).slices
    assert slices["read"].read == (frozenset(), {"risk"}, frozenset())
    assert slices["act"].read.context == {"chain", "amount", "labels"}
    assert slices["act"].read.attributes == {"chain", "amount", "labels", "risk", "risks", "sensitivity"}
