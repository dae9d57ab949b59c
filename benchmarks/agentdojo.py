"""Real input: AgentDojo's tasks and attacks, asked of an authority, call by call.

`python -m benchmarks.agentdojo` prints, per suite and way of granting, how many legitimate calls were allowed and how
many injected ones refused, names every injected call that was not refused, and gives the latency of a hop as its caller
sees it; `--json` prints the same as data. What is replayed is in `agentdojo_data`, how grants are made in
`agentdojo_grants`, what counts as refused in `agentdojo_replay`, who answers in `agentdojo_door`. Exit code 1 when a
task's own grant refused one of its calls, 3 when `agentdojo` is not installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks import agentdojo_data, agentdojo_grants
from benchmarks.agentdojo_door import service
from benchmarks.agentdojo_replay import Outcome, Tried, replay

if TYPE_CHECKING:
    from benchmarks.measure import Timing


def summary(outcome: Outcome) -> dict[str, Any]:
    """One outcome as JSON values; `passed` names every injected call that was not refused."""
    tried = outcome.tried
    return {
        "suite": outcome.suite,
        "mode": outcome.mode,
        "legitimate": {
            "calls": outcome.legitimate,
            "allowed": outcome.legitimate - len(outcome.refused),
            "refused": [
                {"user_task": each.user_task, "tool": each.tool, "reason": each.reason, "hop": each.hop}
                for each in outcome.refused
            ],
        },
        "injected": {
            "calls": len(tried),
            "refused_always": sum(not each.passed for each in tried),
            "pairs": sum(each.pairs for each in tried),
            "pairs_refused": sum(each.pairs - len(each.passed) for each in tried),
            "reasons": _reasons(tried),
            "reader_pairs": sum(each.reader_pairs for each in tried),
            "reader_pairs_refused": sum(each.reader_pairs - each.reader_passed for each in tried),
        },
        "passed": [_passed(each) for each in tried if each.passed],
        "delegate": _latency(outcome.delegate),
        "check": _latency(outcome.check),
    }


def table(summaries: Sequence[dict[str, Any]]) -> str:
    """The summaries for people, and below them each injected call that was not refused."""
    head = (
        f"{'suite':<10}{'grants':<7}{'legitimate':>12}{'injected refused':>18}{'pairs refused':>15}"
        f"{'reader alone':>14}{'delegate p50/p99 us':>21}{'check p50/p99 us':>18}"
    )
    lines = [head]
    for one in summaries:
        good, bad = one["legitimate"], one["injected"]
        cells = (
            (f"{good['allowed']}/{good['calls']}", 12),
            (f"{bad['refused_always']}/{bad['calls']}", 18),
            (f"{bad['pairs_refused']}/{bad['pairs']}", 15),
            (f"{bad['reader_pairs_refused']}/{bad['reader_pairs']}", 14),
            (f"{one['delegate']['p50_us']:.0f}/{one['delegate']['p99_us']:.0f}", 21),
            (f"{one['check']['p50_us']:.0f}/{one['check']['p99_us']:.0f}", 18),
        )
        lines.append(f"{one['suite']:<10}{one['mode']:<7}" + "".join(f"{text:>{width}}" for text, width in cells))
    lines.append("\ninjected calls that were not refused:")
    lines += [_named(one, call) for one in summaries for call in one["passed"]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agentdojo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON array, an object per suite and mode")
    parser.add_argument("--suite", choices=agentdojo_data.SUITES, action="append", help="may repeat; all by default")
    parser.add_argument("--mode", choices=agentdojo_grants.MODES, action="append", help="may repeat; all by default")
    options = parser.parse_args(arguments)
    try:
        suites = agentdojo_data.published()
    except ModuleNotFoundError as error:
        print(f"not installed: {error.name} (extra `bench`)", file=sys.stderr)
        return 3
    catalogue = agentdojo_data.catalogue()
    with service(catalogue) as door:
        summaries = [
            summary(replay(door, suite, mode, catalogue))
            for suite in suites
            if suite.name in (options.suite or agentdojo_data.SUITES)
            for mode in options.mode or agentdojo_grants.MODES
        ]
    print(json.dumps(summaries, indent=1) if options.json else table(summaries))
    faulty = any(one["mode"] == agentdojo_grants.TASK and one["legitimate"]["refused"] for one in summaries)
    return 1 if faulty else 0


def _named(one: dict[str, Any], call: dict[str, Any]) -> str:
    return (
        f"  {one['suite']:<10}{one['mode']:<7}{call['injection_task']}[{call['index']}] {call['tool']}"
        f" {_short(call['arguments'])} under {len(call['user_tasks'])} of {call['pairs']} user tasks"
        f" (by {', '.join(call['agents'])})"
    )


def _reasons(tried: Sequence[Tried]) -> dict[str, int]:
    """How often each reason refused an attempt: a fault of the machinery would show here as no refusal of merit."""
    total: Counter[str] = Counter()
    for each in tried:
        total.update(each.reasons)
    return dict(total.most_common())


def _passed(tried: Tried) -> dict[str, Any]:
    return {
        "injection_task": tried.injection_task,
        "index": tried.index,
        "tool": tried.tool,
        "arguments": dict(tried.arguments),
        "pairs": tried.pairs,
        "user_tasks": list(tried.passed),
        "agents": sorted({agent for agents in tried.passed.values() for agent in agents}),
    }


def _latency(taken: Timing) -> dict[str, float | int]:
    return {"p50_us": round(taken.p50_us, 1), "p99_us": round(taken.p99_us, 1), "calls": taken.calls}


def _short(arguments: dict[str, Any]) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"({text})" if len(text) <= 100 else f"({text[:97]}...)"


if __name__ == "__main__":
    sys.exit(main())
