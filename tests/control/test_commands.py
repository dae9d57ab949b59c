"""The commands of operators on a ledger at hand: what they print, in both forms, and what they end with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from chain.cli import main
from tests.control.material import IDP

CONFIGURATION = """
listen = "127.0.0.1:0"
ledger = "{folder}/ledger"
audience = "https://chain.example"
issuer = "https://issuer.example"
issuer_key = "{folder}/issuer.key"
catalogue = "{folder}/catalogue.json"
anchors = [{{ jwk_file = "{folder}/issuer.jwk", iss = "https://issuer.example" }}]
roots_must_name = ["task"]
callers = [{{ name = "desk", roles = ["issuer", "operator"], credentials = ["{hash}"] }}]
agents = [{{ jwk_file = "{folder}/agent.jwk", id = "spiffe://example.org/agent", owner = "office" }}]
signals = [{{ iss = "https://idp.example", jwk_file = "{folder}/idp.jwk" }}]
"""
AGENT = "spiffe://example.org/agent"


class Desk(NamedTuple):
    """A ledger, keys, and a chain of one hop."""

    folder: Path

    def run(self, *arguments: str | Path, ledger: bool = True) -> Result:
        where = ("--ledger", self.folder) if ledger else ()
        return CliRunner().invoke(main, list(map(str, (*arguments, *where))))

    def ok(self, *arguments: str | Path, ledger: bool = True) -> str:
        result = self.run(*arguments, ledger=ledger)
        assert result.exit_code == 0, result.output
        return result.stdout

    def data(self, *arguments: str | Path) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def ask(self) -> int:
        """Exit code of a call that the chain grants."""
        chain = ("--chain", self.folder / "agent.chain", "--key", self.folder / "agent.key")
        return self.run("check", "mail.read", *chain, "--audience", "https://mail.example").exit_code


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    for name in ("issuer", "agent", "idp"):
        desk.ok("keygen", tmp_path / f"{name}.key", "--public", tmp_path / f"{name}.jwk", ledger=False)
    (tmp_path / "catalogue.json").write_text('{"mail.read": {"class": "read", "classification": "internal"}}')
    (tmp_path / "chain.toml").write_text(CONFIGURATION.format(folder=tmp_path, hash="a" * 64))
    issue = ("issue", "--to", tmp_path / "agent.jwk", "--task", "t-1", "--grant", '{"tools": {"mail.read": {}}}')
    (tmp_path / "agent.chain").write_text(desk.ok(*issue))
    return desk


def test_stop_and_go_on(desk: Desk) -> None:
    assert desk.ask() == 0
    text = desk.ok("suspend", "agent", AGENT, "--cause", "because", "--lifetime", "1h")
    assert text.startswith("SUSPENDED until 20")
    assert desk.ask() == 1
    (one,) = desk.data("suspensions")["suspensions"]
    assert (one["scope"], one["name"], one["cause"], one["author"]) == ("agent", AGENT, "because", "embedded")
    assert one["until"] == one["since"] + 3600
    assert AGENT in desk.ok("suspensions")
    told = desk.data("resume", "agent", AGENT, "--cause", "over")
    assert (told["scope"], told["name"]) == ("agent", AGENT)
    assert desk.ask() == 0
    assert desk.ok("suspensions") == "nothing is stopped\n"
    again = desk.run("resume", "agent", AGENT, "--cause", "over")
    assert again.exit_code == 1


@pytest.mark.parametrize(
    "what", [("everything",), ("trust-domain", "example.org"), ("task", "t-1"), ("tool", "mail.read")]
)
def test_each_scope(desk: Desk, what: tuple[str, ...]) -> None:
    told = desk.data("suspend", *what, "--cause", "because")
    assert told["name"] == ("*" if what == ("everything",) else what[1])
    assert told["mode"] == "suspended"
    assert desk.ask() == 1
    assert desk.ok("resume", *what, "--cause", "over").startswith("RESUMED")
    told = desk.data("suspend", *what, "--cause", "because", "--quarantine")
    assert told["mode"] == "quarantined"
    assert desk.ask() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        ("suspend", "agent", AGENT), ("suspend", "agent", "--cause", "x"), ("suspend", "planet", "x", "--cause", "x"),
        ("suspend", "everything", "x", "--cause", "x"), ("suspend", "task", "t-1", "--cause", ""),
        ("suspend", "task", "t-1", "--cause", "x", "--lifetime", "soon"), ("resume", "task", "--cause", "x"),
        ("suspend", "agent", f"{AGENT}/", "--cause", "x"), ("suspend", "tool", "mail.read ", "--cause", "x"),
        ("revoke",), ("revoke", "--task", "t-1", "--issuer", "x"), ("revoke", "A" * 43, "--task", "t-1"),
        ("revoke", "--holder", "short"), ("signal",), ("signal", "-", "--type", "session-revoked"),
        ("signal", "--type", "session-revoked"),
        ("signal", "--type", "risk-level-change", "--subject", AGENT, "--key", "idp.key", "--issuer", IDP),
    ],
)  # fmt: skip
def test_what_is_used_wrongly_ends_with_2(desk: Desk, wrong: tuple[str, ...]) -> None:
    assert desk.run(*wrong).exit_code == 2
    assert desk.ask() == 0


def test_a_name_is_revoked_after_a_dry_run(desk: Desk) -> None:
    holder = json.loads(desk.ok("keygen", desk.folder / "other.key", "--json", ledger=False))["thumbprint"]
    assert desk.data("revoke", "--holder", holder)["count"] == 0
    dry = desk.data("revoke", "--holder", AGENT, "--dry-run")
    assert (dry["count"], dry["revision"], dry["dry_run"]) == (1, 0, True)
    assert desk.ok("revoke", "--issuer", "https://issuer.example", "--dry-run").startswith("1 would fall\n")
    assert desk.ask() == 0
    assert desk.data("revoke", "--task", "t-1", "--reason", "done")["fallen"] == dry["fallen"]
    assert desk.ask() == 1


def test_a_signal_is_made_printed_and_handed_in(desk: Desk) -> None:
    making: tuple[str | Path, ...] = (
        "signal",
        "--type",
        "session-revoked",
        "--subject",
        AGENT,
        "--issuer",
        IDP,
        "--key",
        desk.folder / "idp.key",
    )
    offline = desk.ok(*making, "--print", "--audience", "https://other.example", ledger=False)
    (desk.folder / "other.set").write_text(offline)
    refused = desk.run("signal", desk.folder / "other.set", "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["error"] == "signal_invalid"
    assert desk.ask() == 0
    (desk.folder / "one.set").write_text(desk.ok(*making, "--print"))
    assert desk.data(*making, "--print")["set"].count(".") == 2
    assert desk.ask() == 0  # printed, not sent
    told = desk.data("signal", desk.folder / "one.set")
    assert (told["principals"], told["repeated"]) == ([AGENT], False)
    assert desk.ask() == 1
    assert desk.ok("signal", desk.folder / "one.set").startswith("taken before; nothing changed\n")


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("risk-level-change", ("--level", "high")),
        ("assurance-level-change", ("--level", "nist-aal2")),
        ("credential-change", ("--change", "update")),
        ("credential-change", ()),
        ("session-revoked", ()),
    ],
)
def test_each_kind_is_made_and_sent(desk: Desk, kind: str, more: tuple[str, ...]) -> None:
    key = desk.folder / "idp.key"
    text = desk.ok("signal", "--type", kind, *more, "--subject", AGENT, "--issuer", IDP, "--key", key)
    assert text.startswith("TAKEN (revision")
    stops = kind in ("risk-level-change", "session-revoked") or (kind == "credential-change" and not more)
    assert desk.ask() == int(stops)


def test_a_strangers_words_do_not_reach_the_terminal(desk: Desk) -> None:
    for text in (
        desk.ok("suspend", "task", "t\u202e", "--cause", "red \x1b[31m \x07"),
        desk.ok("suspensions"),
        desk.ok("resume", "task", "t\u202e", "--cause", "over"),
    ):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_it_says_how_many_keys_stop(desk: Desk) -> None:
    assert "1 enrolled key\n" in desk.ok("suspend", "agent", AGENT, "--cause", "because")
    assert "0 enrolled keys: nobody" in desk.ok("suspend", "agent", f"{AGENT}/nobody", "--cause", "because")
    told = desk.data("suspend", "trust-domain", "example.org", "--cause", "because")
    assert (told["keys"], told["lifted"]) == (1, False)
    assert desk.data("suspend", "tool", "mail.read", "--cause", "because")["keys"] is None


def test_a_late_signal_is_said_to_have_changed_nothing(desk: Desk) -> None:
    key = desk.folder / "idp.key"
    made = ("signal", "--type", "risk-level-change", "--subject", AGENT, "--issuer", IDP, "--key", key, "--level")
    (desk.folder / "late.set").write_text(desk.ok(*made, "low", "--print"))
    time.sleep(1.1)  # times of events are in seconds
    assert "nothing changed" not in desk.ok(*made, "high")
    assert "nothing changed, since a newer event" in desk.ok("signal", desk.folder / "late.set")
    assert desk.ask() == 1
