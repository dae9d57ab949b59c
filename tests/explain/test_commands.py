"""`chain explain`, `chain simulate`, `chain check` and `chain shadow`, as they are typed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner

from chain.base64url import b64encode
from chain.cli.app import main
from chain.cli.simulate import instant
from chain.service.server import ChainServer
from tests.client.running import secret, serving, settings
from tests.explain.cases import ACT
from tests.explain.denied import Denied, ruled
from tests.explain.test_shadow import SHADOW, unclassed
from tests.support import BOB, CAROL, NOW, World, digest, honest

HOSTILE = "x\x1b[31m\nALLOW"


class Shell(NamedTuple):
    """A service, and a chain in a file."""

    denied: Denied
    address: str
    folder: Path

    def run(self, *line: str, caller: str = "operator") -> tuple[int, str]:
        where = ("--server", self.address, "--credential-file", str(self.folder / caller), "--timeout", "20")
        result = CliRunner().invoke(main, [*line, *where])
        return result.exit_code, result.stdout

    def json(self, *line: str, caller: str = "operator") -> tuple[int, Any]:
        code, out = self.run(*line, "--json", caller=caller)
        assert out.count("\n") == 1
        return code, json.loads(out)

    def asking(self, command: str, arguments: str = '{"amount":5}') -> tuple[str, ...]:
        return command, "bank.pay", arguments, "--chain", str(self.folder / "chain")

    def proven(self, command: str, arguments: str = '{"amount":5}') -> tuple[str, ...]:
        made = Denied(self.denied.world, self.denied.tokens, self.denied.by, arguments=json.loads(arguments))
        return (*self.asking(command, arguments), f"--proof={made.request().proof}")


def shell(denied: Denied, folder: Path) -> Iterator[Shell]:
    (folder / "chain").write_text("\n".join(denied.tokens))
    for caller in ("operator", "point"):
        (folder / caller).touch(0o600)
        (folder / caller).write_text(secret(caller))
    with serving(lambda: ChainServer(denied.world.authority, settings(folder), log=io.StringIO())) as server:
        yield Shell(denied, server.address, folder)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Shell]:
    yield from shell(
        Denied(ruled(World(), little=f"forbid ({ACT}) when {{ context.age > 99999 }};"), honest(), CAROL), tmp_path
    )


@pytest.fixture
def shadowing(tmp_path: Path) -> Iterator[Shell]:
    yield from shell(unclassed(World(settings=SHADOW)), tmp_path)


def test_explain_tells_rules_and_the_change(plain: Shell) -> None:
    code, out = plain.run(*plain.proven("explain", '{"amount":500}'), caller="point")
    assert code == 1
    assert "it would be ALLOW, if\n  request  ask with `amount` 100\n" in out
    assert "arguments.amount: 500 -> 100" in out
    assert "rules    done, made" in out
    code, told = plain.json(*plain.proven("explain", '{"amount":500}'), caller="point")
    words = "ask with `amount` 100"
    assert told["changes"] == [
        {"kind": "request", "field": "arguments.amount", "words": words, "before": 500, "after": 100}
    ]
    assert (code, told["unhelped"], told["rules"]) == (1, "", ["done"])
    assert [hop["rules"] for hop in told["hops"]] == [["done", "made"]] * 3
    code, told = plain.json(*plain.proven("explain"), caller="point")
    assert (code, told["effect"], told["changes"], told["unhelped"]) == (0, "ALLOW", [], "")


def test_explain_says_where_nothing_helps(plain: Shell) -> None:
    code, out = plain.run(*plain.asking("explain"), caller="point")
    assert code == 1
    assert "nothing to change: nothing shows that the holder asks" in " ".join(out.split())
    code, told = plain.json(*plain.asking("explain"), caller="point")
    assert (code, told["changes"]) == (1, [])
    assert "no grant, approval or fact" in told["unhelped"]


def test_hostile_words_do_not_reach_the_terminal(plain: Shell) -> None:
    arguments = json.dumps({"amount": 5, HOSTILE: HOSTILE})
    code, out = plain.run(*plain.proven("explain", arguments), caller="point")
    assert code == 1
    assert "\x1b" not in out
    assert "\nALLOW" not in out


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        ((), 0, "allowed"),
        (("--at", str(NOW + 3600)), 1, "expired"),
        (("--at", "2099-01-01T00:00:00Z"), 1, "expired"),
        (("--suspend", "tool:bank.pay"), 1, "suspended"),
        (("--suspend", "everything"), 1, "suspended"),
        (("--suspend", "task:t", "--suspend", "agent:spiffe://example.org/agent/2"), 1, "suspended"),
        (
            ("--delegate", '{"tools":{"bank.pay":{"amount":{"constraint_type":"range","max":3}}}}'),
            1,
            "constraint_violated",
        ),
        (("--delegate", '{"tools":{"mail.send":{}}}'), 1, "tool_added"),
        (("--without-policy",), 0, "allowed"),
        (("--approved",), 0, "allowed"),
    ],
)
def test_simulate(plain: Shell, line: tuple[str, ...], code: int, reason: str) -> None:
    before = plain.denied.world.authority.revision
    ended, told = plain.json(*plain.asking("simulate"), *line)
    assert (ended, told["then"]["reason"], told["now"]["effect"]) == (code, reason, "ALLOW")
    assert told["differs"] is bool(code)
    assert bool(told["come"]) is bool(code)
    assert told["go"] == []
    ended, out = plain.run(*plain.asking("simulate"), *line)
    assert ended == code
    assert out.startswith("now   ALLOW\nthen  " + ("DENY" if code else "ALLOW"))
    assert ("what differs" in out) is bool(code)
    assert plain.denied.world.authority.revision == before


def test_simulate_a_revocation_and_a_policy(plain: Shell, tmp_path: Path) -> None:
    world = plain.denied.world
    for name in (b64encode(digest(plain.denied.tokens[1])), plain.denied.tokens[1]):
        code, told = plain.json(*plain.asking("simulate"), f"--revoke={name}")
        assert (code, told["then"]["reason"], told["then"]["hop"]) == (1, "revoked", 1)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name, text in world.authority.policies.files(world.caller).items():
        (bundle / name).write_text(text.replace("context.age > 99999", "context.age >= 0"))
    code, told = plain.json(*plain.asking("simulate"), "--policy", str(bundle))
    assert (code, told["then"]["reason"], told["then"]["rules"]) == (1, "policy_denied", ["little"])
    code, out = plain.run(*plain.asking("simulate"), "--policy", str(bundle))
    assert "policy " in out
    (bundle / "little.cedar").write_text("forbid")
    assert plain.json(*plain.asking("simulate"), "--policy", str(bundle))[1]["error"] == "policy_invalid"


def test_a_time_is_told_from_now_on_or_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    ctx = click.Context(click.Command("t"))
    option = click.Option(["--at"])
    read = {"+90": 1090.0, "+1h": 4600.0, "77": 77.0, "1970-01-01T00:01:00Z": 60.0, "1970-01-01T01:00:00+01:00": 0.0}
    assert {text: instant(ctx, option, text) for text in read} == read
    assert instant(ctx, option, None) is None


@pytest.mark.parametrize(
    "line",
    [
        ("--at", "soon"),
        ("--at", "2099-01-01T00:00:00"),
        ("--at", "+0"),
        ("--suspend", "bank.pay"),
        ("--suspend", "everything:else"),
        ("--revoke", "x"),
        ("--delegate", "{}"),
        ("--policy", ".", "--without-policy"),
    ],
)
def test_what_cannot_be_supposed_is_wrong_usage(plain: Shell, line: tuple[str, ...]) -> None:
    assert plain.run(*plain.asking("simulate"), *line)[0] == 2


def test_check_shows_shadow_and_does_not_allow(shadowing: Shell) -> None:
    code, out = shadowing.run(*shadowing.proven("check"), caller="point")
    assert code == 1
    assert out.startswith("DENY: class_not_granted at hop 1 (in shadow: not enforced yet)\n")
    code, told = shadowing.json(*shadowing.proven("check"), caller="point")
    assert (code, told["effect"], told["enforced"]) == (1, "DENY", False)
    code, told = shadowing.json(*shadowing.proven("check", '{"amount":500}'), caller="point")
    assert (code, told["effect"], told.get("enforced")) == (1, "DENY", None)


def test_the_report_counts(shadowing: Shell) -> None:
    for _ in range(2):
        shadowing.run(*shadowing.proven("check"), caller="point")
    shadowing.run(*shadowing.proven("check", '{"amount":500}'), caller="point")
    code, told = shadowing.json("shadow")
    assert (code, told["decided"], told["shadowed"]) == (0, 3, 2)
    principal = shadowing.denied.world.authority.principal(BOB.key.thumbprint)
    assert principal is not None
    for by, name in (("reason", "class_not_granted"), ("tool", "bank.pay"), ("principal", principal.id)):
        assert [(one["name"], one["calls"]) for one in told["by"][by]] == [(name, 2)]
    assert told["by"]["rule"] == []
    last = told["by"]["reason"][0]["revision"]
    code, out = shadowing.run("shadow")
    assert out.startswith("2 of 3 calls were denied in shadow")
    assert f"{'class_not_granted':44} {'2':8} {last}\n" in out
    code, told = shadowing.json("shadow", caller="point")
    assert code == 0  # it asked every call of this ledger itself
    shadowing.denied.ask()
    assert shadowing.json("shadow", caller="point") == (
        1,
        {
            "error": "permission_denied",
            "detail": "this caller is not told the whole ledger; ask as an auditor or operator",
        },
    )
    code, told = shadowing.json("shadow", "--after", str(last))
    assert (told["decided"], told["shadowed"]) == (2, 1)
