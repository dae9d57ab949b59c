"""Whatever change is told flips the answer, and less does not; and where nothing helps, nothing is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.anchor import Ceiling, TrustAnchor
from chain.applied import applied, apply
from chain.approval import word
from chain.caller import Caller, Role
from chain.counterfactual import smallest, unhelped
from chain.explain import Change
from chain.mint import grant
from chain.nearest import permitted, widened
from chain.reason import Reason
from chain.token import Verifier
from tests.explain.cases import ACT, HOP, ROWS
from tests.explain.denied import PEOPLE, Denied, ruled
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOME,
    ISSUER,
    MALLORY,
    PEP,
    ROOT_KEY,
    Json,
    World,
    child,
    honest,
    root,
    rule,
    seal,
)

_values = st.sampled_from(
    [
        0,
        3,
        7,
        12,
        40,
        2.5,
        "a",
        "b",
        "c",
        "/srv/in/x",
        "/etc",
        ["a"],
        ["a", "b"],
        [],
        True,
        None,
        "",
        2**53 - 1,
        1.7976931348623157e308,
        {"a": [{}]},
        [[["a"]]],
    ]
)
_flat = st.one_of(
    st.builds(lambda low, wide: rule("range", min=low, max=low + wide), st.integers(0, 9), st.integers(0, 20)),
    st.builds(lambda low: rule("range", min=low, min_inclusive=False), st.integers(0, 9)),
    st.builds(
        lambda found: rule("one_of", values=found), st.lists(st.sampled_from(["a", "b", 3, 7]), min_size=1, max_size=3)
    ),
    st.builds(lambda found: rule("exact", value=found), st.sampled_from(["a", 3, True])),
    st.builds(lambda found: rule("not_one_of", excluded=found), st.lists(st.sampled_from(["a", 3]), max_size=2)),
    st.builds(lambda found: rule("subset", allowed=found), st.lists(st.sampled_from(["a", "b"]), max_size=2)),
    st.builds(lambda found: rule("contains", required=found), st.lists(st.sampled_from(["a", "b"]), max_size=2)),
    st.just(rule("path_containment", root="/srv")),
    st.just(rule("wildcard")),
)
_rules = st.one_of(
    _flat,
    st.builds(lambda found: rule("all", constraints=found), st.lists(_flat, min_size=1, max_size=2)),
    st.builds(lambda found: rule("any", constraints=found), st.lists(_flat, min_size=1, max_size=2)),
)


BRIEF = {"brief": f"forbid ({HOP}) when {{ resource.lifetime > 400 }};"}


@st.composite
def _denied(draw: st.DrawFn) -> Denied:
    """A chain of two hops with a few things wrong about a call."""
    tools: Json = {
        "bank.pay": {name: draw(_rules) for name in draw(st.sets(st.sampled_from(["x", "y", "a.b"]), max_size=2))}
    }
    limits: Json = {"classes": draw(st.sampled_from([["read"], ["act"], ["act", "read"]]))}
    if draw(st.booleans()):
        limits["purposes"] = draw(st.sampled_from([["a"], ["a.b", "c"]]))
    if draw(st.booleans()):
        limits["classification"] = draw(st.sampled_from(["public", "internal"]))
    if draw(st.booleans()):
        limits["budget"] = {"calls": draw(st.integers(0, 1))}
    parent = seal(root(tools=tools, limits=limits, home=HOME))
    leaf = seal(child(parent, BOB, tools=draw(st.sampled_from([tools, {}]))), ALICE)
    world = World(enrolled=draw(st.sampled_from([(ALICE, BOB), (ALICE,)])))
    asked = {name: draw(_values) for name in draw(st.sets(st.sampled_from(["x", "y", "z", "", "a.b"]), max_size=3))}
    rules = draw(
        st.sampled_from([None, {}, {"two": f'@approval("2") forbid ({ACT});'}, {"never": f"forbid ({ACT});"}, BRIEF])
    )
    if rules is not None:
        ruled(world, **rules)
    facts: Json = {"purpose": draw(st.sampled_from([None, "a.b", "d"]))}
    if draw(st.booleans()):
        world.authority.steering.suspend(world.caller, "tool", "bank.pay", "a test")
    return Denied(world, [parent, leaf], BOB, arguments=asked, facts=facts)


@given(_denied())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_told_flips_and_less_does_not(denied: Denied) -> None:
    situation = denied.situation
    changes = smallest(situation)
    if situation.permitted:
        assert changes == ()
        return
    for left in changes:
        assert not applied((one for one in changes if one is not left), situation).permitted
    assert not changes or applied(changes, situation).permitted


@given(st.lists(_rules, min_size=1, max_size=3), _values)
@settings(max_examples=200, deadline=None)
def test_a_value_that_is_proposed_is_permitted(rules: list[Json], value: Any) -> None:
    made = [grant({"tools": {"t": {"x": one}}}).tools["t"]["x"] for one in rules]
    for found in permitted(value, made):
        assert all(one.permits(found) for one in made)
    for one in made:
        wider = widened(one, value)
        assert wider.permits(value)
        assert all(wider.permits(item) for item in ("a", "b", 3, 7, ["a"], "/srv/x") if one.permits(item))


def test_nothing_is_told_of_what_no_change_helps() -> None:
    world = World()
    tokens = honest()
    call = Denied(world, tokens, CAROL)
    cases = {
        Reason.SIGNATURE_INVALID: (Denied(world, [*tokens[:-1], tokens[-1][:-8] + "AAAAAAAA"], CAROL), "not authentic"),
        Reason.HOLDER_MISMATCH: (Denied(world, tokens, MALLORY), "that the holder asks"),
        Reason.PROOF_MISSING: (replace(call, facts={"proof": None}), "that the holder asks"),
    }
    point = Caller("a point", frozenset({Role.ENFORCEMENT_POINT}), PEP)
    for reason, (denied, words) in cases.items():
        told = world.authority.explain(point, denied.tokens, denied.request())
        assert told.decision.reason is reason
        assert told.changes == ()
        assert words in unhelped(told.decision)
    unshown, _ = cases[Reason.PROOF_MISSING]
    told = world.authority.explain(world.caller, tokens, unshown.request())
    assert (told.decision.allowed, told.changes) == (True, ())  # whoever oversees cannot show it, and need not
    used = call.request()
    assert world.authority.check(world.caller, tokens, used).allowed
    told = world.authority.explain(world.caller, tokens, used)
    assert (told.decision.reason, told.changes) == (Reason.REPLAY, ())
    assert "used before" in unhelped(told.decision)
    told = world.authority.explain(world.caller, tokens, call.request())
    assert (told.decision.allowed, told.changes, unhelped(told.decision)) == (True, (), "")


def test_nobody_is_told_how_to_get_around_a_refusal() -> None:
    world = ruled(World(), two='@approval("1") forbid (principal, action == Chain::Action::"act", resource);')
    denied = Denied(world, honest(), CAROL)
    waits = denied.ask().awaits
    assert waits is not None
    asked = world.authority.approvals.get(world.caller, waits.request_id)
    text = word(asked, PEOPLE[0], HOME, "deny", now=world.clock.now)
    world.authority.approvals.resolve(world.caller, text, PEOPLE[0].key)
    told = world.authority.explain(world.caller, denied.tokens, denied.request())
    assert (told.decision.reason, told.changes) == (Reason.APPROVAL_DENIED, ())
    assert "final" in unhelped(told.decision)


def test_a_value_without_a_next_one_is_no_trouble() -> None:
    barred = {"bank.pay": {"x": rule("not_one_of", excluded=[2**53 - 1]), "": rule("exact", value="b")}}
    tokens = honest(2, root(tools=barred))
    denied = Denied(World(), tokens, BOB, arguments={"x": 2**53 - 1, "": "a"})
    assert [change.after for change in denied.changes()] == ['"b"', str(2**53 - 2)]


def test_a_ceiling_of_the_anchor_is_not_passed() -> None:
    anchors = {
        bound: TrustAnchor(ROOT_KEY.key, ISSUER, Ceiling(tools=bound)) for bound in (None, frozenset({"mail.read"}))
    }
    tokens = honest(2, root(tools={"mail.read": {}}))
    for bound, anchor in anchors.items():
        world = World(verifier=Verifier([anchor]))
        told = world.authority.explain(world.caller, tokens, Denied(world, tokens, BOB).request())
        assert bool(told.changes) is (bound is None)


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = next(row for row in ROWS if row.name == "many things at once").make()
    assert denied.changes()
    monkeypatch.setattr("chain.trial.WORK", 100)
    assert denied.changes() == ()


@pytest.mark.parametrize(
    ("kind", "field", "after"),
    [
        ("request", "tool", '"x"'),
        ("request", "proof", '"x"'),
        ("grant", "hops.9.exp", "1"),
        ("grant", "hops.0.tools.other", "{}"),
        ("grant", "hops.0.limits.budget.calls", "5"),
        ("grant", "hops.0.exp", "1"),
        ("state", "clock", "1"),
        ("magic", "hops.0.exp", "1"),
    ],
)
def test_what_cannot_be_changed_is_refused(kind: str, field: str, after: str) -> None:
    situation = Denied(World(), honest(), CAROL).situation
    with pytest.raises(ValueError):  # noqa: PT011 - of every kind
        apply(Change(kind, field, "", after, ""), situation)
