"""Each command of `chain graph`, asked as a user would, of the ledger that the demonstration leaves."""

from __future__ import annotations

import io
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from click.testing import CliRunner

from chain.cli import main
from tests.graph.conftest import Run

CLERK, PAYMENTS = "spiffe://demo.example/clerk", "spiffe://demo.example/payments"
ORCHESTRATOR = "spiffe://demo.example/orchestrator"


def rows(run: Run, *words: str, code: int = 0) -> list[dict[str, Any]]:
    result = run(*words, "--json")
    assert result.exit_code == code, result.stderr
    told = json.loads(result.stdout)
    assert told.keys() == {"revision", "rows", "more"}
    found: list[dict[str, Any]] = told["rows"]
    assert all(row["record"] > 0 for row in found)
    return found


def test_who_can_then_and_now(run: Run, paid: str) -> None:
    then = {row["agent"] for row in rows(run, "who-can", "bank.pay", "--at", paid)}
    assert then == {ORCHESTRATOR, PAYMENTS, CLERK}
    large = {row["agent"] for row in rows(run, "who-can", "bank.pay", "--args", '{"amount": 50}', "--at", paid)}
    assert large == {ORCHESTRATOR, PAYMENTS}
    assert {row["agent"] for row in rows(run, "who-can", "bank.pay")} == {ORCHESTRATOR}, "the rest was revoked"
    assert {row["tool"] for row in rows(run, "who-can", "--target", "bank")} == {"bank.pay", "bank.transfer"}


def test_what_can_says_what_each_hop_narrowed(run: Run, paid: str) -> None:
    (row,) = rows(run, "what-can", CLERK, "--at", paid)
    assert row["arguments"] == {"amount": "from 0 up to 20"}
    assert "hop 2: `bank.pay` argument `amount`: from 0 up to 100 → from 0 up to 20" in row["narrowed"]
    assert row["path"] == [ORCHESTRATOR, PAYMENTS, CLERK]


def test_lineage_and_blast(run: Run, paid: str) -> None:
    up = rows(run, "lineage", CLERK, "--at", paid)
    assert [(row["place"], row["agent"]) for row in up] == [
        ("above", ORCHESTRATOR),
        ("above", PAYMENTS),
        ("itself", CLERK),
    ]
    assert rows(run, "lineage", up[-1]["id"], "--at", paid) == up
    assert {row["status"] for row in rows(run, "lineage", up[-1]["id"])} == {"stands", "revoked"}
    falls = rows(run, "blast", PAYMENTS, "--at", paid)
    assert {(row["what"], row["name"]) for row in falls if row["what"] == "agent"} == {
        ("agent", PAYMENTS),
        ("agent", CLERK),
    }


def test_the_cut_is_what_revoke_takes(run: Run, paid: str) -> None:
    words = ("cut", CLERK, "--tool", "bank.pay", "--keep", PAYMENTS, "bank.pay", "--at", paid)
    first, *others = rows(run, *words)
    assert (first["do"], first["agent"], first["falls"]) == ("revoke", CLERK, 1)
    assert first["command"] == f"chain revoke {first['id']}"
    assert [row["command"] for row in others] == [f"chain revoke --holder={CLERK}"]
    (hindered,) = rows(run, "cut", PAYMENTS, "--tool", "bank.pay", "--keep", CLERK, "bank.pay", "--at", paid, code=1)
    assert (hindered["do"], hindered["kept"]) == ("cannot", first["id"])


def test_where_nothing_is_to_be_cut_that_is_said(run: Run) -> None:
    result = run("cut", CLERK, "--tool", "no.tool")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "0 rows")
    assert "what is suspended does not stand" in result.stderr
    assert run("cut", ORCHESTRATOR, "--tool", "web.search").stderr == ""


def test_it_stops_when_it_is_made(kept: Path, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    researcher = "spiffe://demo.example/researcher"

    def copied() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept, folder)
        configuration = folder / "chain.toml"
        configuration.write_text(configuration.read_text().replace(str(kept), str(folder)))

    def ask(*words: str) -> list[dict[str, Any]]:
        told = CliRunner().invoke(main, ["graph", *words, "--ledger", str(folder), "--json"])
        found: list[dict[str, Any]] = json.loads(told.stdout)["rows"]
        return found

    def live() -> int:
        told = CliRunner().invoke(main, ["graph", "export", "--live", "--ledger", str(folder), "--json"])
        found: int = json.loads(told.stdout)["delegations"]
        return found

    copied()
    stood = live()
    before = ask("who-can", "web.search")
    assert {row["agent"] for row in before} == {ORCHESTRATOR, researcher}
    first, *others = ask("cut", researcher, "--tool", "web.search", "--keep", ORCHESTRATOR, "web.search")
    assert [row["command"].partition("=")[0] for row in others] == [
        "chain revoke --holder",
        "chain revoke --signing-key",
    ], "what the orchestrator itself has stays, whichever is made"
    for row in (first, *others):
        copied()
        words = shlex.split(row["command"])[1:]
        assert CliRunner().invoke(main, [*words, "--ledger", str(folder), "--reason", "look"]).exit_code == 0
        assert {one["agent"] for one in ask("who-can", "web.search")} == {ORCHESTRATOR}
        assert stood - live() == row["falls"]


def test_review_and_chokepoints(run: Run) -> None:
    found = rows(run, "review", "--life", "1m")
    assert {"NHI7 overlong"} <= {row["finding"] for row in found}
    assert all(row["evidence"] for row in found)
    assert rows(run, "chokepoints")[0]["name"] == ORCHESTRATOR


def test_two_instants_and_two_delegations(run: Run, paid: str) -> None:
    changes = rows(run, "diff", "--at", paid, "--to", "2099-01-01")
    assert {(row["change"], row["why"].partition(":")[0]) for row in changes} == {
        ("fell", "revoked"),
        ("fell", "expired"),
    }
    assert rows(run, "diff", "--at", "1970-01-02", "--to", paid)
    until_now = rows(run, "diff", "--at", paid)
    assert {row["id"] for row in until_now if row["change"] == "fell"} <= {row["id"] for row in changes}
    assert any(row["change"] == "fell" for row in until_now)
    up = rows(run, "lineage", CLERK, "--at", paid)
    between = {row["what"]: row for row in rows(run, "diff", up[1]["id"], up[2]["id"])}
    assert between["`bank.pay` argument `amount`"]["b"] == "from 0 up to 20"


@pytest.mark.parametrize("kind", ["dot", "graphml", "mermaid", "json", "prov"])
def test_export(kind: str, run: Run, tmp_path: Path) -> None:
    result = run("export", "--format", kind)
    assert result.exit_code == 0
    file = tmp_path / "graph"
    assert run("export", "--format", kind, "--out", str(file)).exit_code == 0
    assert file.read_text() == result.stdout
    told = json.loads(run("export", CLERK, "--format", kind, "--json").stdout)
    assert told["format"] == kind
    assert 0 < told["delegations"] < result.stdout.count("\n") + len(result.stdout)
    if kind == "graphml":
        graph = nx.read_graphml(io.BytesIO(result.stdout.encode()))
        assert {data["kind"] for _, data in graph.nodes(data=True)} == {"delegation", "refused", "approval"}
    assert ("left out" in run("export", "--limit", "1", "--format", kind).stderr) is True


def test_no_more_is_shown_than_was_asked_for(run: Run) -> None:
    whole = rows(run, "lineage", ORCHESTRATOR)
    told = json.loads(run("lineage", ORCHESTRATOR, "--limit", "2", "--json").stdout)
    assert (told["rows"], told["more"]) == (whole[:2], len(whole) - 2)
    text = run("lineage", ORCHESTRATOR, "--limit", "2").stdout
    assert text.endswith(f"2 of {len(whole)} rows; {len(whole) - 2} more with --limit\n")
    assert run("lineage", ORCHESTRATOR).stdout.endswith(f"\n{len(whole)} rows\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["who-can"], 2),
        (["who-can", "bank.pay", "--target", "bank"], 2),
        (["who-can", "--target", "bank", "--args", "{}"], 2),
        (["who-can", "bank.pay", "--args", "[]"], 2),
        (["who-can", "bank.pay", "--args", "{"], 2),
        (["what-can", "spiffe://demo.example/nobody"], 1),
        (["lineage", "-an-id-that-begins-with-a-dash"], 1),
        (["what-can", "-an-id-that-begins-with-a-dash"], 1),
        (["cut", "-an-id-that-begins-with-a-dash", "--tool", "bank.pay"], 1),
        (["blast", "nothing-like-this"], 1),
        (["cut", CLERK, "--tool", "bank.pay", "--keep", CLERK, "no.tool"], 1),
        (["diff"], 2),
        (["diff", "one"], 2),
        (["diff", "--to", "2099-01-01"], 2),
        (["diff", "one", "two", "--to", "2099-01-01"], 2),
        (["diff", "--at", "2099-01-01", "--to", "2098-01-01"], 2),
        (["export", "--out", "/nowhere/at/all"], 2),
        (["export", "nothing-like-this"], 1),
    ],
)
def test_bad_input_is_told(words: list[str], code: int, run: Run) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(("chain: ", "Usage"))
