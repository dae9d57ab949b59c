"""AgentDojo's data, catalogue and grants, judged by the core's own `Grant`; and the replay's counting."""

from __future__ import annotations

import json

import msgspec
import pytest

from benchmarks import agentdojo, agentdojo_data, agentdojo_grants, agentdojo_replay
from benchmarks.agentdojo_data import Call, Suite, Task
from benchmarks.agentdojo_replay import Outcome, Verdict
from chain.catalog import Catalogue, Tool
from chain.grant import Grant

pytest.importorskip("agentdojo", reason="extra `bench` lacks agentdojo")


@pytest.fixture(scope="module")
def suites() -> list[Suite]:
    return agentdojo_data.published()


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return agentdojo_data.catalogue()


class Conjunction:
    """A door without signatures: the conjunction of the grants of a chain, by the core's own rules."""

    def issue(self, holder: str, grant: agentdojo_grants.Grant, task: str) -> list[Grant]:
        return [msgspec.convert(grant, Grant)]

    def delegate(self, parent: list[Grant], holder: str, grant: agentdojo_grants.Grant) -> list[Grant]:
        child = msgspec.convert(grant, Grant)
        assert list(child.excess(parent[-1])) == []
        assert child.fault() is None
        return [*parent, child]

    def check(self, held: list[Grant], call: Call) -> Verdict:
        for hop, grant in enumerate(held):
            arguments = grant.tools.get(call.tool)
            if arguments is None:
                return Verdict(allowed=False, reason="tool_not_granted", hop=hop)
            if arguments and (
                arguments.keys() != call.arguments.keys()
                or not all(rule.permits(call.arguments[name]) for name, rule in arguments.items())
            ):
                return Verdict(allowed=False, reason="argument_not_permitted", hop=hop)
        return Verdict(allowed=True, reason="allowed", hop=None)


def test_the_published_suites_are_whole(suites: list[Suite]) -> None:
    assert agentdojo_data.counts(suites) == agentdojo_data.PUBLISHED
    assert [suite.name for suite in suites] == list(agentdojo_data.SUITES)
    assert sum(not task.calls for suite in suites for task in suite.injection_tasks) == 9


def test_the_catalogue_names_every_tool_and_no_other(suites: list[Suite], catalogue: Catalogue) -> None:
    assert set(catalogue.root) == {tool for suite in suites for tool in suite.tools}


def test_a_grant_made_for_a_task_permits_each_of_its_calls(suites: list[Suite], catalogue: Catalogue) -> None:
    for suite in suites:
        outcome = agentdojo_replay.replay(Conjunction(), suite, agentdojo_grants.TASK, catalogue)
        assert outcome.refused == []
        assert outcome.legitimate == sum(len(task.calls) for task in suite.user_tasks)
        assert sum(tried.pairs for tried in outcome.tried) == len(suite.user_tasks) * len(outcome.tried)


def test_constraints_refuse_what_tools_alone_let_through(suites: list[Suite], catalogue: Catalogue) -> None:
    passed = {
        mode: sum(
            len(tried.passed)
            for suite in suites
            for tried in agentdojo_replay.replay(Conjunction(), suite, mode, catalogue).tried
        )
        for mode in agentdojo_grants.MODES
    }
    assert passed["task"] < passed["tools"] < passed["role"]


def test_a_constraint_is_the_narrowest_that_permits_all_values() -> None:
    constraint = agentdojo_grants.constraint
    assert constraint("amount", [5, 5]) == {"constraint_type": "exact", "value": 5}
    assert constraint("amount", [5, 6]) == {"constraint_type": "one_of", "values": [5, 6]}
    assert constraint("recipients", [["a", "b"], ["b"]]) == {"constraint_type": "subset", "allowed": ["a", "b"]}
    assert constraint("body", ["hello"]) == {"constraint_type": "wildcard"}
    with pytest.raises(ValueError, match="mixes"):
        constraint("recipients", [["a"], "b"])


def test_what_passed_is_named_and_what_was_refused_is_counted() -> None:
    catalogue = Catalogue({"s.look": Tool(action_class="read"), "s.pay": Tool(action_class="act")})
    suite = Suite(
        name="s",
        tools=list(catalogue.root),
        user_tasks=[
            Task("both", "", [Call("s.look", {"page": "a"}), Call("s.pay", {"to": "bob"})]),
            Task("read", "", [Call("s.look", {"page": "a"})]),
        ],
        injection_tasks=[Task("steal", "", [Call("s.look", {"page": "a"}), Call("s.pay", {"to": "eve"})])],
    )
    outcome = agentdojo_replay.replay(Conjunction(), suite, agentdojo_grants.TASK, catalogue)
    told = agentdojo.summary(outcome)
    assert told["legitimate"] == {"calls": 3, "allowed": 3, "refused": []}
    assert told["injected"] == {
        "calls": 2,
        "refused_always": 1,
        "pairs": 4,
        "pairs_refused": 2,
        "reasons": {"argument_not_permitted": 3, "tool_not_granted": 3},
        "reader_pairs": 4,
        "reader_pairs_refused": 2,
    }
    assert [(one["tool"], one["user_tasks"]) for one in told["passed"]] == [("s.look", ["both", "read"])]
    assert told["passed"][0]["agents"] == ["orchestrator", "reader"]
    assert "steal[0] s.look (page='a') under 2 of 2 user tasks" in agentdojo.table([told])


def test_a_refused_legitimate_call_is_reported() -> None:
    outcome = Outcome("s", "task", legitimate=1, delegate_ns=[1], check_ns=[1])
    outcome.refused.append(agentdojo_replay.Refusal("user_task_0", "s.look", "tool_not_granted", 1))
    told = agentdojo.summary(outcome)["legitimate"]
    assert (told["allowed"], told["refused"][0]["tool"]) == (0, "s.look")


def test_the_command_allows_every_call_of_a_suite_and_prints_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert agentdojo.main(["--json", "--suite", "banking"]) == 0
    task, tools, role = json.loads(capsys.readouterr().out)
    assert [one["mode"] for one in (task, tools, role)] == list(agentdojo_grants.MODES)
    assert task["legitimate"] == {"calls": 33, "allowed": 33, "refused": []}
    assert {call["tool"] for call in task["passed"]} == {"banking.get_scheduled_transactions"}
    assert any(call["tool"] == "banking.send_money" for call in role["passed"])
    assert role["injected"]["reader_pairs_refused"] > 0
