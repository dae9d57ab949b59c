"""What errs, what is unknown and what is hostile permits nothing."""

from __future__ import annotations

import json
from typing import Any

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.control import ORDINARY, Party
from chain.decision import Effect
from chain.outcome import Asked, Judged
from chain.policyfacts import Stated, ask
from chain.reading import read
from chain.reason import Reason
from tests.policy.folder import ANY_APPROVER, ANY_CALL, ANY_HOP, ANYTHING, activate, bundle, parties, policy, three
from tests.support import ALICE, CAROL, NOW, World, root, seal

OVERFLOW = "context.age + 9223372036854775807 > 0"
"""Types as well as any sum does; at run time it is more than an integer can hold."""


def test_a_forbid_that_errs_denies(world: World) -> None:
    """Cedar skips a rule that errs: permit-all beside it would be an Allow."""
    tokens = [seal(root())]
    rule = '@id("no") forbid (principal, action == Chain::Action::"read", resource) when {{ {} && false }};'
    activate(world, ANYTHING + rule.format(OVERFLOW))
    decision = world.denied(Reason.POLICY_ERROR, None, tokens, ALICE)
    assert decision.findings[0].detail == "rule `no` could not be evaluated"
    activate(world, ANYTHING + rule.format("context.age + 1 > 0"))
    world.allowed(tokens, ALICE)


def test_what_errs_is_told_without_values_and_its_cause_to_who_tests_it(world: World) -> None:
    """Findings go to agents, and the engine quotes what it adds."""
    rule = '@id("{}") forbid (principal, action == Chain::Action::"read", resource) when {{ {} }};'
    rules = ANYTHING + rule.format("b", OVERFLOW) + rule.format("a", OVERFLOW)
    activate(world, rules)
    decision = world.denied(Reason.POLICY_ERROR, None, [seal(root(iat=NOW - 77))], ALICE)
    assert decision.findings[0].detail == "rules `a`, `b` could not be evaluated"
    answer = ask(policy(bundle(rules)), Stated(age=77))
    assert answer.word == "deny"
    assert answer.why.startswith("rules `a`, `b` could not be evaluated: ")
    assert "overflow" in answer.why
    assert "`77`" in answer.why


def test_a_permit_that_errs_denies_although_another_permits(world: World) -> None:
    tokens = [seal(root())]
    rule = '@id("yes") permit (principal, action == Chain::Action::"read", resource) when {{ {} }};'
    activate(world, ANYTHING + rule.format(OVERFLOW))
    world.denied(Reason.POLICY_ERROR, None, tokens, ALICE)
    activate(world, ANYTHING + rule.format("context.age >= 0"))
    world.allowed(tokens, ALICE)


def test_a_rule_about_other_questions_is_not_evaluated(world: World) -> None:
    rule = '@id("no") forbid (principal, action == Chain::Action::"act", resource) when {{ {} }};'
    activate(world, ANYTHING + rule.format(OVERFLOW))
    world.allowed([seal(root())], ALICE)
    world.denied(Reason.POLICY_ERROR, None, [seal(root())], ALICE, "bank.pay", {"amount": 5})


def test_a_hop_whose_rule_errs_is_denied(world: World) -> None:
    rule = '@id("no") forbid (principal, action == Chain::Action::"delegate", resource) when {{ {} }};'
    activate(world, ANYTHING + rule.format("resource.depth == 2 && resource.depth + 9223372036854775807 > 0"))
    world.denied(Reason.POLICY_ERROR, 2, three(), CAROL)
    activate(world, ANYTHING + rule.format("resource.depth == 2 && resource.depth + 1 > 5"))
    world.allowed(three(), CAROL)


def test_a_gate_that_errs_asks_nobody(world: World) -> None:
    rule = '@id("gate") @approval("1") forbid (principal, action == Chain::Action::"read", resource) when {{ {} }};'
    activate(world, ANYTHING + rule.format(OVERFLOW))
    decision = world.denied(Reason.POLICY_ERROR, None, [seal(root())], ALICE)
    assert decision.awaits is None
    activate(world, ANYTHING + rule.format("context.age >= 0"))
    assert world.ask([seal(root())], ALICE).effect is Effect.APPROVAL_REQUIRED


def test_an_approver_whose_rule_errs_does_not_count() -> None:
    rule = '@id("no") forbid (principal, action == Chain::Action::"approve", resource) when {{ {} }};'
    judged = Judged(Party("a", None, ORDINARY), Party("b", None, ORDINARY), (), "t", "", "", "", None, emergency=False)
    overflow = 'context.subject == "" && (if 9223372036854775807 + 1 > 0 then true else false)'
    assert policy(bundle(ANYTHING + rule.format(overflow))).approver(judged).fault is not None
    assert policy(bundle(ANYTHING + rule.format('context.subject == "x"'))).approver(judged).permitted


def test_no_rule_is_no_permit(world: World) -> None:
    activate(world, ANY_HOP)
    decision = world.denied(Reason.POLICY_DENIED, None, [seal(root())], ALICE)
    assert decision.findings[0].detail == "no rule permits it"
    activate(world, ANY_CALL)
    decision = world.denied(Reason.POLICY_DENIED, 0, [seal(root())], ALICE)
    assert decision.findings[0].detail == "this hop may not be made: no rule permits it"


def test_a_forbid_wins(world: World) -> None:
    rule = '@id("stop") forbid (principal, action == Chain::Action::"read", resource == Chain::Tool::"{}");'
    activate(world, ANYTHING + rule.format("mail.read"))
    decision = world.denied(Reason.POLICY_DENIED, None, [seal(root())], ALICE)
    assert (decision.rules, decision.findings[0].detail) == (("stop",), "forbidden by `stop`")
    activate(world, ANYTHING + rule.format("mail.send"))
    world.allowed([seal(root())], ALICE)


def test_a_tool_that_nobody_listed_is_a_critical_act(world: World) -> None:
    tokens = [seal(root(tools={"what.is.this": {}}))]
    for kind, sensitivity, allowed in (("act", "critical", True), ("read", "critical", False), ("act", "high", False)):
        activate(
            world,
            ANY_HOP + f'@id("a") permit (principal, action == Chain::Action::"{kind}", resource) '
            f'when {{ resource.sensitivity == "{sensitivity}" }};',
        )
        assert world.ask(tokens, ALICE, "what.is.this", {}).allowed is allowed


def test_gates_wait_only_for_what_something_permits(world: World) -> None:
    gate = '@id("gate") @approval("2") forbid (principal, action == Chain::Action::"read", resource);'
    activate(world, ANY_HOP + gate)
    world.denied(Reason.POLICY_DENIED, None, [seal(root())], ALICE)
    stop = '@id("stop") forbid (principal, action == Chain::Action::"read", resource);'
    activate(world, ANYTHING + gate + stop)
    assert world.denied(Reason.POLICY_DENIED, None, [seal(root())], ALICE).rules == ("stop",)
    activate(world, ANYTHING + gate)
    waits = world.ask([seal(root())], ALICE)
    assert (waits.effect, waits.awaits and waits.awaits.threshold) == (Effect.APPROVAL_REQUIRED, 2)


@pytest.mark.parametrize("age", [2**63, -(2**63) - 1, 2**200])
def test_a_number_that_is_no_integer_of_cedars_denies(world: World, age: int) -> None:
    chain = world.accepted(three())
    ruled = policy(bundle(ANYTHING + '@id("x") forbid (principal, action, resource) when { context.age < 0 };'
                          .replace("action,", 'action == Chain::Action::"read",')))  # fmt: skip
    call = Asked("mail.read", "", "", "", (), "public", age, None)
    refused = ruled.call(chain, parties(world, chain), call)
    assert (refused.permitted, bool(refused.fault)) == (False, True)
    assert ruled.call(chain, parties(world, chain), call._replace(age=2**63 - 1)).permitted


@pytest.mark.parametrize(
    ("amount", "permitted"),
    [("999.9999", True), ("999.99991", False), ("1000", False), ("99999999999999", False), ("1e30", False)],
)
def test_an_amount_never_looks_smaller_than_it_is(amount: str, *, permitted: bool) -> None:
    rule = """
    @id("little") permit (principal, action == Chain::Action::"act", resource)
    when { context has amount && context.amount.lessThan(decimal("1000.0")) };
    """
    stated = Stated.model_validate({"tool": {"class": "act"}, "amount": amount})
    assert (ask(policy(bundle(rule)), stated).word == "permit") is permitted


HOSTILE = [
    'mail.read"',
    '"; permit(principal,action,resource); //',
    "mail.read\\",
    "mail\nread",
    "mail.read\x00",
    "méil.read",
    "MAIL.READ",
    " mail.read",
    "mail.read" * 400,
    '__entity"}',
    '{"type":"Chain::Tool","id":"mail.read"}',
    'Chain::Tool::"mail.read"',
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tool_name_is_only_a_name(name: str) -> None:
    """Permitted is the one tool of that very name, which the rules do not name otherwise."""
    rules = """
    @id("named") permit (principal, action in Chain::Action::"call", resource == Chain::Tool::"mail.read");
    """
    ruled = policy(bundle(rules))
    assert ask(ruled, Stated(tool="mail.read")).word == "permit"
    answer = ask(ruled, Stated(tool=name))
    assert (answer.word, answer.why) == ("deny", "no rule permits it")


@given(name=st.text(st.characters(codec=None), max_size=80) | st.text(alphabet='mail.red"\\\n{}:/', max_size=40))
def test_no_name_at_all_escapes_into_a_permit(name: str) -> None:
    ruled = policy_of_one()
    for stated in (
        Stated.model_construct(tool=name or "x"),
        Stated.model_construct(purpose=name, labels=(name,), audience=name, intent=name, tool="x"),
        Stated.model_construct(issuer=name, subject=name, task=name, owner=name, tool="x", question="call"),
    ):
        if name != "mail.read":
            assert ask(ruled, stated).word == "deny"


_KNOWN: list[Any] = []


def policy_of_one() -> Any:
    if not _KNOWN:
        text = '@id("one") permit (principal, action in Chain::Action::"call", resource == Chain::Tool::"mail.read");'
        _KNOWN.append(policy(bundle(text)))
    return _KNOWN[0]


@given(name=st.text(min_size=1, max_size=60))
def test_an_issuers_name_makes_it_nobody_else(name: str) -> None:
    """An issuer is whatever its URI says, and still of kind `issuer`."""
    rules = """
    @id("one") permit (principal, action == Chain::Action::"delegate", resource)
    when { principal.kind == "issuer" && resource.issuer == principal.id };
    """
    if not _ISSUED:
        _ISSUED.append(policy(bundle(rules)))
    assert ask(_ISSUED[0], Stated(question="delegate", issuer=name)).word == "permit"


_ISSUED: list[Any] = []


def test_half_a_character_is_no_name_and_denies() -> None:
    ruled = policy(bundle(ANYTHING + '@id("no") forbid (principal, action, resource) when { false };'))
    reads = policy(bundle(ANYTHING.replace('"call", resource)', '"call", resource) when { context.purpose != "" }')))
    for asked, stated in (
        (ruled, Stated.model_construct(tool="x\ud800")),
        (reads, Stated.model_construct(purpose="\udfff", tool="x")),
    ):
        answer = ask(asked, stated)
        assert answer.word == "deny"
        assert answer.why
    assert ask(ruled, Stated(tool="x")).word == "permit"
    assert ask(reads, Stated(tool="x", purpose="y")).word == "permit"


@pytest.mark.parametrize(
    ("condition", "members"),
    [
        ("true", set()),
        ("context.age > 1", {"age"}),
        ('context["age"] > 1', {"age"}),
        ('context.purpose like "a*"', {"purpose"}),
        ('context has amount && context.amount.lessThan(decimal("1.0"))', {"amount"}),
        ("context has approvals.count", {"approvals"}),
        ('context.chain.holder.risk == "low"', {"chain"}),
        ('if context.age > 1 then context.purpose == "" else context.intent == ""', {"age", "purpose", "intent"}),
        ("[context.age, 2].contains(3)", {"age"}),
        ("{a: context.age}.a == 1", {"age"}),
        ('{"Value": context.age}.Value == 1', {"age"}),
        ('{"Value": {"Var": context.age}.Var}["Value"] == 1', {"age"}),
        ('{".": context has amount}["."]', {"amount"}),
        ('principal is Chain::Principal && context.audience == "context"', {"audience"}),
        ('!(context.labels.containsAny(["a", "b"]))', {"labels"}),
        ("context.labels.isEmpty() || -context.age < 3 * context.age", {"labels", "age"}),
        ('action == Chain::Action::"read" && context.intent == context.chain.intent', {"intent", "chain"}),
        ("context == {age: 1}", None),
        ("{a: context}.a.age == 1", None),
        ("(if true then context else context).age == 1", None),
    ],
)
def test_what_a_rule_reads_of_the_context(condition: str, members: set[str] | None) -> None:
    text = f'@id("a") permit (principal, action, resource) when {{ {condition} }};'
    body = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]["policy0"]
    assert read([body["conditions"]]).context == members


def test_a_records_member_hides_nothing() -> None:
    """A member of a record may bear the name of an operator: what stands under it is read all the same."""
    rules = """
    @id("no") forbid (principal, action == Chain::Action::"read", resource)
    when { {"Value": context has amount}["Value"] };
    """
    ruled = policy(bundle(ANYTHING + rules))
    assert ask(ruled, Stated()).word == "permit"
    assert ask(ruled, Stated.model_validate({"amount": 1})).rules == ("no",)


def test_a_context_that_is_taken_whole_is_told_whole() -> None:
    rules = '@id("no") forbid (principal, action == Chain::Action::"read", resource) when { {a: context}.a.age > 5 };'
    ruled = policy(bundle(ANYTHING + rules))
    assert ask(ruled, Stated(age=5)).word == "permit"
    assert ask(ruled, Stated(age=6)).word == "deny"


def test_a_gate_holds_a_hop_back_and_counts_who_approved_it() -> None:
    gate = '@id("gate") @approval("2") forbid (principal, action == Chain::Action::"delegate", resource);'
    ruled = policy(bundle(ANY_HOP + gate))
    for people, word in ((0, "approval"), (1, "approval"), (2, "permit")):
        assert ask(ruled, Stated(question="delegate", approvals=people)).word == word


def test_a_rule_may_ask_how_many_approved() -> None:
    rules = """
    @id("two") permit (principal, action == Chain::Action::"read", resource) when { context.approvals.count >= 2 };
    @id("ann") permit (principal, action == Chain::Action::"act", resource)
    when { context.approvals.by.contains("ann") };
    """
    ruled = policy(bundle(ANY_APPROVER + rules))
    assert [ask(ruled, Stated(approvals=count)).word for count in (0, 1, 2)] == ["deny", "deny", "permit"]
    act = {"tool": {"class": "act"}}
    assert ask(ruled, Stated.model_validate(act | {"approvals": ["ann", "ann"]})).word == "permit"
    assert ask(ruled, Stated.model_validate(act | {"approvals": ["ben"]})).word == "deny"
