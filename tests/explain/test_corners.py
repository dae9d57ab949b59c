"""Proposals, trials and suppositions where there is nothing to propose, no work left, or no such chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from chain import mint, relief, remedy
from chain.applied import apply
from chain.base64url import b64encode
from chain.beneath import extended
from chain.counterfactual import smallest
from chain.errors import InvalidTokenError
from chain.explain import Change
from chain.grant import Grant, Limits
from chain.order import Issue, Revoke
from chain.reason import Reason
from chain.regrant import Regrants
from chain.relief import RELIEFS
from chain.remedy import Proposal
from chain.seeking import fields
from chain.state import Settings
from chain.supposed import AS_IT_IS, Hypothesis, Supposed
from chain.token import Rules
from chain.trial import COLD, Trials, Weighed
from tests.explain.cases import ACT, HOP, INTENT, OTHER, PAYS, ROWS, limited, policy, priced, told, unnamed
from tests.explain.denied import Denied
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    EXTENDED,
    HOME,
    NOW,
    PEP,
    PLAIN,
    TOOLS,
    Json,
    World,
    chain_of,
    child,
    digest,
    digest_of,
    entry,
    honest,
    root,
    rule,
    seal,
)

EURO = {"currency": "EUR", "argument": "amount"}


def called() -> Denied:
    return Denied(World(), honest(), CAROL)


def afters(proposals: list[Proposal]) -> list[tuple[tuple[str, str], ...]]:
    """What each proposal changes, and into what."""
    return [tuple((step.field, step.after) for step in steps) for steps in proposals]


def keyless() -> Denied:
    """A chain whose last holder has no key of its own, and no name."""
    first = root(limits={"classes": ["act"]})
    tokens = chain_of(lambda parent: child(parent, BOB, cnf={"x5t#S256": b64encode(bytes(32))}), first=first)
    return Denied(World(), tokens, BOB, facts={"proof": None})


def test_a_suspension_that_ended_is_not_lifted() -> None:
    made = called()
    steering, caller = made.world.authority.steering, made.world.caller
    steering.suspend(caller, "tool", "bank.pay", "a test", lifetime=60)
    steering.suspend(caller, "everything", "*", "a test")
    both = [("suspensions.everything:*", ""), ("suspensions.tool:bank.pay", "")]
    assert afters(list(relief.suspension(made.situation))) == [tuple(both)]
    made.world.clock.now += 60
    assert afters(list(relief.suspension(made.situation))) == [tuple(both[:1])]


def test_an_amount_is_sought_only_where_one_is_known() -> None:
    assert list(relief.amounts(priced(arguments={"amount": 5}).situation))
    assert list(relief.amounts(priced(arguments={"amount": "many"}).situation)) == []
    assert list(relief.amounts(called().situation)) == []


@pytest.mark.parametrize(
    ("most", "asked", "found"), [("1.0", 1.5, "1"), ("5.0", 6.5, "5"), ("5.0", 80, "5"), ("0.5", 2, "0.5")]
)
def test_the_largest_amount_is_found_that_no_rule_refuses(most: str, asked: float, found: str) -> None:
    forbid = f'forbid ({ACT}) when {{ context has amount && context.amount.greaterThan(decimal("{most}")) }};'
    made = policy(little=forbid)
    made.arguments = {"amount": asked}
    assert [step.after for step in made.changes()] == [found]


def test_no_rule_is_taken_out_of_no_policy() -> None:
    assert list(relief.rules(called().situation)) == []
    assert [step.field for (step,) in relief.rules(policy().situation)] == ["policy"]


def narrowing(above: Json, leaf: Json, value: object) -> Denied:
    first = seal(root(tools={"bank.pay": {"amount": above}}))
    tokens = [first, seal(child(first, BOB, tools={"bank.pay": {"amount": leaf}}), ALICE)]
    return Denied(World(), tokens, BOB, arguments={"amount": value})


def test_the_hop_alone_that_refuses_is_widened_by_the_value_or_up_to_the_hop_above() -> None:
    made = narrowing(rule("range", max=1000), rule("range", max=100), 500)
    wider = [proposal for proposal in remedy.arguments(made.situation) if proposal[0].kind == "grant"]
    assert [[step.field for step in proposal] for proposal in wider] == [["hops.1.tools.bank.pay.amount"]] * 2
    assert [json.loads(proposal[0].after)["max"] for proposal in wider] == [500, 1000]
    both = narrowing(rule("range", max=100), rule("range", max=100), 500)
    (only,) = [proposal for proposal in remedy.arguments(both.situation) if proposal[0].kind == "grant"]
    assert [step.field for step in only] == [f"hops.{place}.tools.bank.pay.amount" for place in (0, 1)]


def test_a_purpose_is_proposed_that_every_hop_grants() -> None:
    made = limited({"purposes": ["a"]}, {"purposes": ["a", "b"]}, purpose="c")
    assert afters(list(remedy.purpose(made.situation))) == [
        (("purpose", '"a"'),),
        (("hops.0.limits.purposes", '["a","b","c"]'), ("hops.1.limits.purposes", '["a","c"]')),
    ]


def test_an_intent_is_proposed_where_the_root_binds_one() -> None:
    assert list(remedy.intent(called().situation)) == []
    first = root(intent=INTENT, authorization_details=[entry(TOOLS, kind=EXTENDED)])
    (proposal,) = remedy.intent(Denied(World(), honest(2, first), BOB).situation)
    assert proposal[0].after == json.dumps(INTENT["digest"])


def test_a_request_id_that_was_used_is_not_proposed() -> None:
    made = unnamed()
    ((step,),) = remedy.request_id(made.situation)
    assert told(made, request_id=json.loads(step.after)).ask().allowed
    assert list(remedy.request_id(made.situation)) == []


def test_a_label_that_is_stated_already_is_not_proposed() -> None:
    grants = (("hops.1.limits.classification", '"internal"'),)
    stated = limited({"classification": "public"}, classification="public")
    assert afters(list(remedy.classification(stated.situation))) == [grants]
    unstated = limited({"classification": "public"})
    assert afters(list(remedy.classification(unstated.situation))) == [(("classification", '"public"'),), grants]


@pytest.mark.parametrize(("named", "proposed"), [(HOME, []), (OTHER, [(("hops.0.home", json.dumps(HOME)),)])])
def test_a_home_is_proposed_where_another_is_named(named: str, proposed: list[object]) -> None:
    first = root(tools={"bank.pay": {}}, limits={"budget": {"calls": 5}}, home=named)
    assert afters(list(remedy.home(Denied(World(), honest(2, first), BOB).situation))) == proposed


def test_the_budgets_alone_are_raised_that_have_too_little() -> None:
    parent = seal(root(tools={"bank.pay": {}}, limits={"classes": ["act"]}, home=HOME))
    tokens = [parent]
    for by, to, most in ((ALICE, BOB, "10"), (BOB, CAROL, "6")):
        limits = {"classes": ["act"], "budget": {"amount": {"value": most} | EURO}}
        tokens.append(seal(child(tokens[-1], to, limits=limits), by))
    made = Denied(World(catalogue=PAYS), tokens, CAROL, arguments={"amount": 8})
    *lower, raised = remedy.budget(made.situation)
    assert [step.field for step in raised] == ["hops.2.limits.budget.amount"]
    assert json.loads(raised[0].after) == {"value": "8"} | EURO
    assert afters(lower)[0] == (("arguments.amount", "6"),)


@pytest.mark.parametrize(
    ("granted", "proposed"),
    [
        (rule("range", min=5), []),
        (rule("one_of", values=["x", 7, 2]), ["2"]),
    ],
)
def test_no_amount_is_proposed_that_is_too_high_or_none(granted: Json, proposed: list[str]) -> None:
    tokens = honest(2, root(tools={"bank.pay": {"amount": granted}}))
    made = Denied(World(catalogue=PAYS), tokens, BOB, arguments={"amount": 8})
    assert [step.after for (step,) in remedy.lower(made.situation, "amount", Decimal(3))] == proposed


def test_an_amount_is_proposed_that_can_be_read() -> None:
    granted = {"bank.pay": {"amount": rule("one_of", values=["x", "y", "3"])}}
    made = Denied(World(catalogue=PAYS), honest(2, root(tools=granted)), BOB, arguments={"amount": "x"})
    assert afters(list(remedy.amount(made.situation))) == [(("arguments.amount", '"3"'),)]
    assert list(remedy.amount(called().situation)) == []


@pytest.mark.parametrize(("tool", "spoken"), [("wire.pay", ["unit"]), ("mail.send", ["currency"]), ("bank.pay", [])])
def test_the_currency_is_proposed_where_an_argument_says_it(tool: str, spoken: list[str]) -> None:
    ceiling = {"value": "10", "currency": "EUR", "argument": "sum"}
    first = root(tools={tool: {}}, limits={"budget": {"amount": ceiling}}, home=HOME)
    call = {"sum": "1", "unit": "USD", "currency": "USD"}
    made = Denied(World(catalogue=PAYS), honest(2, first), BOB, tool=tool, arguments=call)
    euros = [step.field for (step,) in remedy.amount(made.situation) if step.after == '"EUR"']
    assert euros == [f"arguments.{name}" for name in spoken]


def test_nothing_is_sought_for_a_call_that_is_allowed() -> None:
    made = called()
    assert smallest(made.situation) == ()
    made.arguments = {"amount": 500}
    assert [step.after for step in smallest(made.situation)] == ["100"]


def test_a_change_of_too_many_steps_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made = next(row for row in ROWS if row.name == "many things at once").make()
    steps = made.changes()
    monkeypatch.setattr("chain.seeking.MAX_STEPS", len(fields(steps)))
    assert made.changes() == steps
    monkeypatch.setattr("chain.seeking.MAX_STEPS", len(fields(steps)) - 1)
    assert made.changes() == ()


def test_nobody_is_enrolled_without_a_key() -> None:
    """What a source proposes may be nothing that could be: then it proposes nothing."""
    made = keyless()
    with pytest.raises(ValueError, match="id"):
        list(relief.enrolment(made.situation))
    explained = made.world.authority.explain(made.world.caller, made.tokens, made.request())
    assert Reason.HOLDER_UNKNOWN in {finding.reason for finding in explained.decision.findings}
    assert relief.enrolment in RELIEFS[Reason.HOLDER_UNKNOWN]
    assert explained.changes == ()


def test_steps_that_cannot_be_taken_lead_nowhere() -> None:
    trials = Trials(called().situation)
    before = trials.left
    assert trials.reach((Change("state", "clock", "", "1", ""),)) is None
    assert trials.flips((Change("state", "clock", "", "1", ""),)) is False
    assert trials.left < before
    assert trials.reach((Change("request", "purpose", "", '"a"', ""),)) is not None


def test_a_policy_is_asked_only_while_there_is_work_left() -> None:
    situation = policy(brief=f"forbid ({HOP}) when {{ resource.lifetime > 9000 }};").situation
    hops, cold = Trials(situation).hops, Trials(situation).cold
    assert Trials(situation, hops - 1).weigh(situation) is None
    assert Trials(situation, hops + COLD - 1).weigh(situation) is None
    assert Trials(situation, hops + COLD + cold - 1).weigh(situation) is None
    enough = Trials(situation, hops + COLD + cold)
    assert enough.weigh(situation) == Weighed((), whole=True)
    assert enough.left == 0


@pytest.mark.parametrize(("field", "refused"), [("exp", True), ("revoked", False)])
def test_of_a_hop_it_is_supposed_that_it_was_not_revoked_and_nothing_else(field: str, refused: bool) -> None:
    made = called()
    assert made.ask().allowed
    made.world.authority.revoke(made.world.caller, Revoke(digest(made.tokens[1]), "a test"))
    change = Change("state", f"hops.1.{field}", "true", "false", "")
    if refused:
        with pytest.raises(ValueError, match="no fact that can be supposed"):
            apply(change, made.situation)
    else:
        assert not made.situation.permitted
        assert apply(change, made.situation).permitted


@pytest.mark.parametrize(
    ("make", "limits", "reason"),
    [
        (keyless, Limits(), Reason.DELEGATOR_MISMATCH),
        (called, Limits(classification="unheard-of"), Reason.CLAIM_INVALID),
        (called, Limits(classification="public"), None),
    ],
)
def test_a_hop_that_may_not_be_made_is_not_supposed(
    make: Callable[[], Denied], limits: Limits, reason: Reason | None
) -> None:
    made = make()
    chain = made.world.accepted(made.tokens)
    further = (Grant(tools=chain.leaf.grant.tools, limits=limits),)
    if reason is None:
        assert len(extended(chain, further, Rules(), NOW)) == len(chain) + 1
        return
    with pytest.raises(InvalidTokenError) as raised:
        extended(chain, further, Rules(), NOW)
    assert (raised.value.reason, raised.value.hop) == (reason, len(chain))


def test_what_is_supposed_to_be_revoked_is_a_set() -> None:
    made = called()
    assert made.ask().allowed
    first, middle, leaf = map(digest, made.tokens)
    for gone in (first, middle):
        made.world.authority.revoke(made.world.caller, Revoke(gone, "a test"))
    live = made.world.authority._desk.live
    supposed = Supposed(live, Hypothesis(revoke=frozenset({leaf, middle}), restore=frozenset({first}))).revoked
    assert sorted(supposed) == sorted({leaf, middle})
    assert len(supposed) == 2
    assert (first in supposed, middle in supposed, leaf in supposed) == (False, True, True)
    assert supposed == {leaf, middle}
    assert Supposed(live, AS_IT_IS).revoked == {first, middle} == set(live.revoked)


def test_the_own_status_list_answers_a_supposition_too() -> None:
    world = World(settings=Settings(status_list="https://issuer.example/status/1"))
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"bank.pay": {}}}), lifetime=3000, listed=True)
    token = world.authority.issue(world.caller, order).token
    listed = Denied(world, [token], ALICE)
    assert listed.ask().allowed
    explained = world.authority.explain(world.caller, listed.tokens, listed.request())
    assert (explained.decision.allowed, explained.decision.findings) == (True, ())
    status = {"status_list": {"idx": 7, "uri": "https://issuer.example/status/1"}}
    other = Denied(world, [seal(root(status=status))], ALICE)
    explained = world.authority.explain(world.caller, other.tokens, other.request())
    assert explained.decision.reason is Reason.STATE_UNAVAILABLE


def test_an_audience_is_widened_from_the_root_on() -> None:
    made = Denied(World(), honest(2, root(aud=OTHER)), BOB)
    chain, regrants = made.situation.chain, Regrants("bank.pay", Rules())
    wide = [("aud", json.dumps([OTHER, PEP]))]
    both = regrants.chain(chain, {0: wide, 1: wide})
    assert [hop.audience for hop in both.hops] == [frozenset({OTHER, PEP})] * 2
    assert regrants.sound(both)
    assert not regrants.sound(regrants.chain(chain, {1: wide}))


@pytest.mark.parametrize(("kind", "limits"), [(EXTENDED, {"classes": ["act"]}), (PLAIN, None)])
def test_a_hop_that_granted_nothing_grants_under_every_limit_of_its_parent(kind: str, limits: Json | None) -> None:
    """And a plain hop cannot stand under it any more, since it keeps none of them."""
    first = seal(root(limits={"classes": ["act"]}))
    middle = seal(child(first, BOB, authorization_details=[]), ALICE)
    leaf = child(first, CAROL, del_depth=2, par_hash=digest_of(middle), authorization_details=[entry({}, limits, kind)])
    leaf["iss"] = leaf["iss"].replace(ALICE.key.thumbprint, BOB.key.thumbprint)
    chain = World().accepted([first, middle, seal(leaf, BOB)])
    regrants = Regrants("bank.pay", Rules())
    granted = json.dumps(TOOLS["bank.pay"])
    made = regrants.chain(chain, {1: [("tools.bank.pay", granted)]})
    assert made.hops[1].grant.tools.keys() == {"bank.pay"}
    assert made.hops[1].grant.limits == chain.root.grant.limits
    assert regrants.sound(made) is (kind == EXTENDED)
