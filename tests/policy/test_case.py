"""Cases kept beside a bundle, and what is told of them."""

from __future__ import annotations

import re

import pytest

from chain.bundles import default
from chain.errors import PolicyError
from chain.policycase import MAX_CASES, cases, run
from chain.policyfacts import Holder, Stated, ask
from tests.policy.folder import ANYTHING, bundle, policy

GATED = ANYTHING + '@id("gate") @approval("2") forbid (principal, action == Chain::Action::"act", resource);'


def ran(text: str, rules: str = GATED, file: str = "cases/a.toml"):  # noqa: ANN201 - what `run` returns
    return run(policy(bundle(rules, **{file: text})))


def case(body: str) -> str:
    return f'[[case]]\nname = "x"\n{body}'


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('expect = "permit"', ""),
        ('expect = "deny"', "expected deny, got permit"),
        ('expect = "permit"\nrules = ["call"]', ""),
        ('expect = "permit"\nrules = ["other"]', "expected it of `other`, got it of `call`"),
        ('expect = "permit"\nrules = []', "expected it of no rule, got it of `call`"),
        ('tool = "bank.pay"\nexpect = "approval"', ""),
        ('tool = "bank.pay"\nexpect = "approval"\npeople = 2\nrules = ["gate"]', ""),
        ('tool = "bank.pay"\nexpect = "approval"\npeople = 1', "expected approval by 1, got approval by 2"),
        ('tool = "bank.pay"\nexpect = "deny"', "expected deny, got approval by 2: held back by `gate`"),
        ('tool = "bank.pay"\nexpect = "permit"\napprovals = 2', ""),
        ('tool = "bank.pay"\nexpect = "permit"\napprovals = ["a", "a"]', "expected permit, got approval by 2"),
        ('question = "delegate"\ndepth = 3\nexpect = "permit"\nrules = ["hop"]', ""),
        ('question = "approve"\napprover = { kind = "unknown" }\nexpect = "permit"', ""),
        ('question = "approve"\nexpect = "deny"', "expected deny, got permit"),
    ],
)
def test_a_case_passes_only_where_it_comes_out_as_it_says(body: str, detail: str) -> None:
    (one,) = ran(case(body))
    assert (one.name, one.file, one.passed) == ("x", "cases/a.toml", not detail)
    assert one.detail.startswith(detail)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[case]", "cases/a.toml: "),
        ('name = "x"', "cases/a.toml: holds a list `case` and nothing else, not `name`"),
        ("case = 3", "cases/a.toml: "),
        ("case = [3]", "cases/a.toml: case 1: "),
        (case(""), "cases/a.toml: case 1 `x`: `expect`: Field required"),
        ('[[case]]\nexpect = "permit"', "cases/a.toml: case 1: `name`: Field required"),
        (case('expect = "permit"') + "\n" + case('expect = "maybe"'), "cases/a.toml: case 2 `x`: `expect`: "),
        (case('expect = "permit"\nrisk = "high"'), "case 1 `x`: `risk`: is no member that a case has"),
        (case('expect = "permit"\nholders = [{}, { rsk = "high" }]'), "`holders.1.rsk`: is no member that a case has"),
        (case('expect = "permit"\nholders = [{ risk = "terrible" }]'), "`holders.0.risk`: "),
        (case('expect = "permit"\nholders = [{ id = "Ann" }]'), "`holders.0.id`: not a SPIFFE id"),
        (
            case('expect = "permit"\nholders = [{ id = "spiffe://a.test/x", trust_domain = "b.test" }]'),
            "the id is of another trust domain",
        ),
        (case('expect = "permit"\ntool = { clas = "read" }'), "`tool.clas`: is no member that a case has"),
        (case('expect = "permit"\namount = 1.5'), "`amount`: money is a whole number or a decimal in quotes"),
        (case('expect = "permit"\namount = "a lot"'), "`amount`: "),
        (case('expect = "permit"\npeople = 2'), '`people` goes with `expect = "approval"` only'),
        (case('expect = "permit"\ndepth = 0\nholders = [{}, {}]'), "2 holders are more than depth 0 has"),
        (case('expect = "permit"\ndepth = 65'), "`depth`: "),
        (case('expect = "permit"\nclassification = "secret"'), "case `x`: `secret` is no data label"),
        (case('expect = "permit"\nholders = [{ classification = "secret" }]'), "`secret` is no data label"),
    ],
)
def test_a_case_that_cannot_be_read_is_an_error(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(words)):
        ran(text)


def test_cases_are_read_as_json_too() -> None:
    text = '{"case": [{"name": "x", "expect": "permit"}, {"name": "y", "expect": "deny"}]}'
    assert [one.passed for one in ran(text, file="cases/a.json")] == [True, False]
    with pytest.raises(PolicyError, match=r"cases/a\.json: "):
        ran('{"case": [], "case": []}', file="cases/a.json")


def test_no_cases_are_none() -> None:
    assert ran("", file="cases/a.toml") == ()
    assert run(policy(bundle())) == ()


def test_there_are_only_so_many() -> None:
    text = case('expect = "permit"') + "\n"
    assert len(cases({"cases/a.toml": text * 10})) == 10
    with pytest.raises(PolicyError, match="more than"):
        cases({"cases/a.toml": text * (MAX_CASES + 1)})


def test_the_default_bundle_does_what_its_cases_say() -> None:
    assert [one for one in run(policy(default(), {})) if not one.passed] == []


def test_each_rule_of_the_default_bundle_is_shown_both_ways() -> None:
    ruled = policy(default(), {})
    stated = [one for _, one in cases(ruled.bundle.cases)]
    spoke = {rule for one in stated for rule in ask(ruled, one).rules}
    assert spoke == ruled.bundle.rules.keys()
    for name, rule in ruled.bundle.rules.items():
        others = {other: text for other, text in default().items() if not other.startswith("cases/")}
        kept = {**others, rule.file: without(others[rule.file], name)}
        less = policy(kept, {})
        turned = [one.name for one in stated if ask(less, one).width != ask(ruled, one).width]
        assert turned, f"no case would notice that `{name}` is gone"


def without(text: str, name: str) -> str:
    found = re.sub(rf'@id\("{re.escape(name)}"\)[^;]*;', "", text)
    assert found != text
    return found


def test_holders_that_are_not_named_stand_between_the_first_and_the_last() -> None:
    stated = Stated(holders=(Holder(trust_domain="acme.test"), Holder(kind="unknown")), depth=4)
    assert [one.kind for one in stated.path] == ["agent", "agent", "agent", "agent", "unknown"]
    assert {one.trust_domain for one in stated.path[:-1]} == {"acme.test"}
    assert len(Stated(depth=0).path) == len(Stated().path) == 1


def test_a_question_is_told_as_a_case_could_ask_it() -> None:
    stated = Stated.model_validate({"tool": {"class": "act"}, "amount": "1.50", "holders": [{"risk": "high"}]})
    words = stated.words()
    assert words == {
        "question": "call",
        "tool": {"class": "act"},
        "amount": "1.50",
        "holders": [{"risk": "high"}],
    }
    assert Stated.model_validate(words) == stated
