"""Two policies compared: each difference is shown by a request on which they do differ."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.bundles import default
from chain.policydiff import MAX_WITNESSES, diff
from chain.policyfacts import Stated, ask
from chain.policymodel import combinations
from chain.policyview import Answer, Difference, Relation
from tests.policy.folder import ANYTHING, bundle, policy

SHIPPED = default()


def changed(file: str, before: str, after: str) -> dict[str, str]:
    assert before in SHIPPED[file]
    return SHIPPED | {file: SHIPPED[file].replace(before, after)}


def more(rule: str) -> dict[str, str]:
    return SHIPPED | {"more.cedar": f'@id("more") {rule};'}


def on(action: str) -> str:
    return f'(principal, action == Chain::Action::"{action}", resource)'


PAIRS: list[tuple[str, dict[str, str], Relation]] = [
    ("nothing", SHIPPED, Relation.EQUAL),
    ("a comment", SHIPPED | {"calls.cedar": "// x\n" + SHIPPED["calls.cedar"]}, Relation.EQUAL),
    ("a rule that says nothing new", more(f'forbid {on("read")} when {{ principal.risk == "high" }}'), Relation.EQUAL),
    ("a purpose", more(f'forbid {on("read")} when {{ context.purpose == "pay" }}'), Relation.NARROWER),
    ("a pattern", more(f'forbid {on("read")} when {{ context.purpose like "pay.*" }}'), Relation.NARROWER),
    ("a prompt's label", more(f'forbid {on("read")} when {{ context.labels.contains("odd") }}'), Relation.NARROWER),
    ("a person", more(f'forbid {on("read")} when {{ principal.id == "spiffe://a.test/x" }}'), Relation.NARROWER),
    (
        "a person in the head",
        more('forbid (principal == Chain::Principal::"spiffe://a.test/x", action == Chain::Action::"read", resource)'),
        Relation.NARROWER,
    ),
    (
        "a tool in the head",
        more('forbid (principal, action == Chain::Action::"read", resource == Chain::Tool::"mail.read")'),
        Relation.NARROWER,
    ),
    (
        "a thumbprint",
        more(f'forbid {on("read")} when {{ principal.id == "key:abc" }}'),
        Relation.NARROWER,
    ),
    ("a task", more(f'forbid {on("act")} when {{ context.chain.task == "t" }}'), Relation.NARROWER),
    ("an issuer", more(f'forbid {on("act")} when {{ context.chain.issuer == "https://a.test" }}'), Relation.NARROWER),
    ("an audience", more(f'forbid {on("act")} when {{ context.audience == "https://a.test" }}'), Relation.NARROWER),
    ("a target", more(f'forbid {on("act")} when {{ resource.target == "bank" }}'), Relation.NARROWER),
    ("a data label", more(f'forbid {on("read")} when {{ context.classification == "restricted" }}'), Relation.NARROWER),
    ("an owner", more(f'forbid {on("read")} when {{ principal.owner == "ops" }}'), Relation.NARROWER),
    ("an assurance", more(f'forbid {on("read")} unless {{ principal.assurance == "" }}'), Relation.NARROWER),
    ("a kind above", more(f'forbid {on("read")} when {{ context.chain.kinds.contains("human") }}'), Relation.NARROWER),
    ("a depth", more(f"forbid {on('read')} when {{ context.chain.depth > 5 }}"), Relation.NARROWER),
    ("an age", more(f"forbid {on('read')} when {{ context.age > 3600 }}"), Relation.NARROWER),
    (
        "an amount",
        more(f'forbid {on("act")} when {{ context has amount && context.amount.greaterThan(decimal("99.5")) }}'),
        Relation.NARROWER,
    ),
    ("an approver", more(f'forbid {on("approve")} when {{ principal.id == "spiffe://a.test/x" }}'), Relation.NARROWER),
    ("an emergency", more(f"forbid {on('approve')} when {{ context.emergency }}"), Relation.NARROWER),
    (
        "one's own request",
        more(f"forbid {on('approve')} when {{ context.requester == principal }}"),
        Relation.NARROWER,
    ),
    ("a second", changed("hops.cedar", "lifetime > 86400", "lifetime > 86399"), Relation.NARROWER),
    ("a second the other way", changed("hops.cedar", "lifetime > 86400", "lifetime > 86401"), Relation.WIDER),
    ("a depth of hops", changed("hops.cedar", "resource.depth > 1", "resource.depth > 2"), Relation.WIDER),
    ("more people", changed("approvals.cedar", '@approval("2")', '@approval("3")'), Relation.NARROWER),
    ("fewer people", changed("approvals.cedar", '@approval("2")', '@approval("1")'), Relation.WIDER),
    ("a permit", more(f"permit {on('read')}"), Relation.WIDER),
    (
        "both ways",
        changed("hops.cedar", "resource.depth > 1", "resource.depth > 2")
        | {"more.cedar": f'@id("more") forbid {on("read")} when {{ principal.risk == "medium" }};'},
        Relation.INCOMPARABLE,
    ),
    ("a catalogue", SHIPPED | {"catalogue.toml": '"bank.pay" = { class = "read" }'}, Relation.WIDER),
]


def verified(before: dict[str, str], after: dict[str, str], found: Difference) -> None:
    """See each witness differ, when it is put to both as a case would put it."""
    first, second = policy(before, {}), policy(after, {})
    for one in found.witnesses:
        stated = Stated.model_validate(one.request)
        assert (ask(first, stated), ask(second, stated)) == (one.before, one.after)
        assert one.before.width != one.after.width
    directions = {one.after.width > one.before.width for one in found.witnesses}
    expected = {
        Relation.EQUAL: set(),
        Relation.NARROWER: {False},
        Relation.WIDER: {True},
        Relation.INCOMPARABLE: {False, True},
    }
    assert directions == expected[found.relation]
    assert len(found.witnesses) <= MAX_WITNESSES


@pytest.mark.parametrize(("after", "relation"), [pytest.param(*rest, id=name) for name, *rest in PAIRS])
def test_a_difference_is_found_and_shown(after: dict[str, str], relation: Relation) -> None:
    found = diff(policy(SHIPPED, {}), policy(after, {}), 400)
    assert found.relation is relation
    assert found.tried <= 3 * 400
    verified(SHIPPED, after, found)


def test_and_the_other_way_round_it_is_the_other() -> None:
    narrower = policy(more(f'forbid {on("read")} when {{ context.purpose == "pay" }}'), {})
    assert diff(narrower, policy(SHIPPED, {}), 400).relation is Relation.WIDER


def test_a_witness_says_no_more_than_it_has_to() -> None:
    found = diff(policy(SHIPPED, {}), policy(more(f'forbid {on("read")} when {{ context.purpose == "pay" }}'), {}))
    assert [one.request for one in found.witnesses] == [{"question": "call", "purpose": "pay"}]
    assert (found.witnesses[0].before.rules, found.witnesses[0].after.rules) == (("call.read",), ("more",))


_conditions = st.sampled_from(
    [
        'principal.risk == "high"', 'context.purpose == "pay"', "context.age > 60", 'resource.sensitivity == "high"',
        "context has amount", 'context.labels.contains("x")', "context.chain.depth > 2", 'resource.target == "bank"',
    ]
)  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(kept=st.sets(_conditions, max_size=4), added=_conditions)
def test_more_forbids_are_never_wider(kept: set[str], added: str) -> None:
    def files(conditions: set[str]) -> dict[str, str]:
        rules = [
            f'@id("r{number}") forbid (principal, action in Chain::Action::"call", resource) when {{ {condition} }};'
            for number, condition in enumerate(sorted(conditions))
        ]
        return bundle(ANYTHING + "\n".join(rules))

    found = diff(policy(files(kept), {}), policy(files(kept | {added}), {}), 300)
    assert found.relation is (Relation.EQUAL if added in kept else Relation.NARROWER)
    verified(files(kept), files(kept | {added}), found)


def test_combinations_are_all_or_the_same_sample() -> None:
    small = {"a": (1, 2, 3), "b": ("x", "y")}
    assert len({tuple(one.items()) for one in combinations(small, "s", 10)}) == 6
    large: dict[str, Any] = {str(name): tuple(range(5)) for name in range(12)}
    sample = list(combinations(large, "s", 500))
    assert len(sample) == 500
    assert sample == list(combinations(large, "s", 500))
    assert sample != list(combinations(large, "t", 500))
    assert all({one[name] for one in sample} == set(values) for name, values in large.items())


def test_an_answer_has_a_place_in_the_order() -> None:
    order = [Answer("deny"), Answer("approval", 3), Answer("approval", 1), Answer("permit")]
    assert sorted(order, key=lambda answer: answer.width) == order
    assert [Answer.parse(str(answer)) for answer in order] == order
    with pytest.raises(ValueError, match="no answer"):
        Answer.parse("allow")
