"""`--json` on every command: exactly one JSON value on stdout, whatever comes of the call."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from chain import bundles
from chain.base64url import b64encode
from chain.cli import app, main
from chain.cli.kept import Kept
from chain.view import Revoked
from tests.cli import material as m
from tests.cli.conftest import Service, command
from tests.demonstration import Played
from tests.policy.folder import bundle

GRANT = '{"tools":{"mail.read":{"folder":{"constraint_type":"one_of","values":["receipts","inbox"]}}}}'
MORE = '{"tools":{"mail.send":{}}}'
TOOLS = "https://tools.example"
RULES = '@id("r") permit (principal, action == Chain::Action::"read", resource) when { principal.risk != "high" };'


class Place(NamedTuple):
    """What the commands of the table work on; all of it was made by commands."""

    played: Played
    service: Service
    folder: Path

    def as_caller(self, name: str) -> Sequence[str]:
        return self.service.as_caller(name)

    @property
    def root(self) -> Path:
        return self.folder / "root.chain"

    @property
    def question(self) -> Path:
        return self.folder / "question.json"

    def asking(self, folder: str, who: str = "orchestrator") -> tuple[str | Path, ...]:
        return (
            *("mail.read", json.dumps({"folder": folder}), "--chain", self.root),
            *("--key", self.played.key(who), "--audience", TOOLS),
        )

    def handing(self, grant: str) -> tuple[str | Path, ...]:
        key, to = self.played.key("orchestrator"), self.played.public("researcher")
        return ("--chain", self.root, "--key", key, "--to", to, "--grant", grant)


@pytest.fixture(scope="module")
def place(played: Played, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(played, service, tmp_path_factory.mktemp("json"))
    made = invoke("issue", "--to", played.public("orchestrator"), "--grant", GRANT, *place.as_caller("alice"))
    assert made[0] == 0
    place.root.write_text(made[1])
    place.question.write_bytes(m.plain().text())
    (place.folder / "bad.json").write_text("{}")
    (place.folder / "rules").mkdir()
    for name, text in bundle(RULES).items():
        (place.folder / "rules" / name).write_text(text)
    (place.folder / "no.chain").write_text("a.b.c\n")
    for name in ("issuer.key", "k.key"):
        assert invoke("keygen", place.folder / name, "--public", place.folder / f"{name}.jwk")[0] == 0
    return place


def invoke(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


class Row(NamedTuple):
    """A command line, its exit code and what its one value holds."""

    name: str
    line: Callable[[Place], Sequence[str | Path]]
    code: int
    holds: dict[str, Any]


NOBODY = ("--server", "127.0.0.1:1", "--timeout", "0.1")
BUNDLE = Path(bundles.__file__).parent / "default"
TABLE = [
    Row("keygen", lambda p: ["keygen", p.folder / "new.key"], 0, {}),
    Row("keygen over a file", lambda p: ["keygen", p.folder / "k.key"], 2, {"error": "request_invalid"}),
    Row("credential", lambda p: ["credential", p.folder / "new.secret"], 0, {}),
    Row("credential over a file", lambda p: ["credential", p.folder / "k.key"], 2, {"error": "request_invalid"}),
    Row(
        "issue offline",
        lambda p: [
            *("issue", "--to", p.folder / "k.key.jwk", "--grant", GRANT),
            *("--key", p.folder / "issuer.key", "--issuer", "https://issuer.example"),
        ],
        0,
        {"hop": 0},
    ),
    Row(
        "issue",
        lambda p: ["issue", "--to", p.folder / "k.key.jwk", "--grant", GRANT, *p.as_caller("alice")],
        0,
        {"hop": 0},
    ),
    Row(
        "issue without the role",
        lambda p: ["issue", "--to", p.folder / "k.key.jwk", "--grant", GRANT, *p.as_caller("gate")],
        1,
        {"error": "permission_denied"},
    ),
    Row("delegate offline", lambda p: ["delegate", *p.handing(GRANT)], 0, {"hop": 1}),
    Row("delegate", lambda p: ["delegate", *p.handing(GRANT), *p.as_caller("orchestrator")], 0, {"hop": 1}),
    Row(
        "delegate more",
        lambda p: ["delegate", *p.handing(MORE), *p.as_caller("orchestrator")],
        1,
        {"effect": "DENY", "reason": "tool_added", "hop": 1, "field": "tools.mail.send"},
    ),
    Row(
        "delegate to nobody's service",
        lambda p: ["delegate", *p.handing(GRANT), *NOBODY],
        3,
        {"error": "unreachable"},
    ),
    Row("check", lambda p: ["check", *p.asking("receipts"), *p.as_caller("gate")], 0, {"effect": "ALLOW"}),
    Row(
        "check of what is not granted",
        lambda p: ["check", *p.asking("sent"), *p.as_caller("gate")],
        1,
        {"effect": "DENY", "reason": "constraint_violated", "hop": 0},
    ),
    Row(
        "check with another's key",
        lambda p: ["check", *p.asking("receipts", "clerk"), *p.as_caller("gate")],
        1,
        {"effect": "DENY"},
    ),
    Row(
        "check of no token",
        lambda p: ["check", "t", "--chain", p.folder / "no.chain", "--channel", *p.as_caller("gate")],
        1,
        {"effect": "DENY"},
    ),
    Row("check by nobody", lambda p: ["check", *p.asking("inbox"), *NOBODY], 3, {"error": "unreachable"}),
    Row("check of nothing", lambda p: ["check", "t", "--chain", p.folder / "none"], 2, {"error": "request_invalid"}),
    Row(
        "run nothing without a server",
        lambda p: ["run", "--grant", GRANT, "--task", "t", "--", "true"],
        2,
        {"error": "request_invalid"},
    ),
    Row("explain", lambda p: ["explain", *p.asking("receipts"), *p.as_caller("gate")], 0, {"effect": "ALLOW"}),
    Row("explain a denial", lambda p: ["explain", *p.asking("sent"), *p.as_caller("gate")], 1, {"effect": "DENY"}),
    Row("explain by nobody", lambda p: ["explain", *p.asking("inbox"), *NOBODY], 3, {"error": "unreachable"}),
    Row("inspect", lambda p: ["inspect", p.root], 0, {"verified": False, "fault": None}),
    Row("inspect against another key", lambda p: ["inspect", p.root, "--anchor", p.folder / "k.key.jwk"], 1, {}),
    Row("inspect of no token", lambda p: ["inspect", p.folder / "no.chain"], 1, {"effect": "DENY"}),
    Row("verify", lambda p: ["verify", p.question], 0, {"effect": "ALLOW"}),
    Row("verify no question", lambda p: ["verify", p.folder / "bad.json"], 2, {"reason": "request_invalid"}),
    Row("revoke dry", lambda p: ["revoke", _id(p), "--dry-run", *p.as_caller("alice")], 0, {"dry_run": True}),
    Row("revoke", lambda p: ["revoke", _id(p), *p.as_caller("alice")], 0, {"dry_run": False}),
    Row(
        "revoke what nobody holds",
        lambda p: ["revoke", b64encode(bytes(32)), *p.as_caller("alice")],
        1,
        {"error": "not_found"},
    ),
    Row(
        "watch a chain",
        lambda p: ["watch", "--chain", p.root, "--until-now", *p.as_caller("gate")],
        0,
        {"stands": True, "reason": "allowed"},
    ),
    Row(
        "watch the future",
        lambda p: ["watch", "--after", "9999999", *p.as_caller("gate")],
        2,
        {"error": "cursor_invalid"},
    ),
    Row(
        "simulate as a gate",
        lambda p: ["simulate", "t", "--chain", p.root, "--at", "+1h", *p.as_caller("gate")],
        1,
        {"error": "permission_denied"},
    ),
    Row("simulate by nobody", lambda p: ["simulate", "t", "--chain", p.root, *NOBODY], 3, {"error": "unreachable"}),
    Row("shadow by nobody", lambda p: ["shadow", *NOBODY], 3, {"error": "unreachable"}),
    Row("audit by nobody", lambda p: ["audit", "who", *NOBODY], 3, {"error": "unreachable"}),
    Row("graph by nobody", lambda p: ["graph", "who-can", "mail.read", *NOBODY], 3, {"error": "unreachable"}),
    Row("graph as a gate", lambda p: ["graph", "review", *p.as_caller("gate")], 1, {"error": "permission_denied"}),
    Row("audit as a gate", lambda p: ["audit", "who", *p.as_caller("gate")], 1, {"error": "permission_denied"}),
    Row("controls", lambda p: ["controls", "report", "--ledger", p.played.folder], 0, {"gaps": 0, "findings": []}),
    Row("controls by nobody", lambda p: ["controls", "report", *NOBODY], 3, {"error": "unreachable"}),
    Row(
        "controls as a gate", lambda p: ["controls", "report", *p.as_caller("gate")], 1, {"error": "permission_denied"}
    ),
    Row("policy approvals by nobody", lambda p: ["policy", "approvals", *NOBODY], 3, {"error": "unreachable"}),
    Row("report", lambda p: ["report", p.folder / "out.html", *p.as_caller("operator")], 0, {}),
    Row("report by nobody", lambda p: ["report", p.folder / "o.html", *NOBODY], 3, {"error": "unreachable"}),
    Row(
        "report as a gate",
        lambda p: ["report", p.folder / "o.html", *p.as_caller("gate")],
        1,
        {"error": "permission_denied"},
    ),
    Row("watch by nobody", lambda p: ["watch", *NOBODY], 3, {"error": "unreachable"}),
    Row("watch as an agent", lambda p: ["watch", *p.as_caller("orchestrator")], 1, {"error": "permission_denied"}),
    Row(
        "revoke a name as a gate",
        lambda p: ["revoke", "--task", "t", *p.as_caller("gate")],
        1,
        {"error": "permission_denied"},
    ),
    Row("revoke a name", lambda p: ["revoke", "--task", "none", "--dry-run", *p.as_caller("alice")], 0, {"count": 0}),
    Row("suspend by nobody", lambda p: ["suspend", "task", "t", "--cause", "c", *NOBODY], 3, {"error": "unreachable"}),
    Row(
        "suspend as a gate",
        lambda p: ["suspend", "task", "t", "--cause", "c", *p.as_caller("gate")],
        1,
        {"error": "permission_denied"},
    ),
    Row("suspend nothing", lambda p: ["suspend", "task", "--cause", "c", *NOBODY], 2, {"error": "request_invalid"}),
    Row("resume by nobody", lambda p: ["resume", "task", "t", "--cause", "c", *NOBODY], 3, {"error": "unreachable"}),
    Row("suspensions as a gate", lambda p: ["suspensions", *p.as_caller("gate")], 1, {"error": "permission_denied"}),
    Row("signal by nobody", lambda p: ["signal", p.folder / "no.chain", *NOBODY], 3, {"error": "unreachable"}),
    Row("signal nothing", lambda p: ["signal", *NOBODY], 2, {"error": "request_invalid"}),
    Row("approvals", lambda p: ["approvals", "list", *p.as_caller("ann")], 0, {"approvals": []}),
    Row(
        "approvals as a gate", lambda p: ["approvals", "list", *p.as_caller("gate")], 1, {"error": "permission_denied"}
    ),
    Row("approvals of nobody", lambda p: ["approvals", "show", "none", *p.as_caller("ann")], 1, {"error": "not_found"}),
    Row("approvals by nobody", lambda p: ["approvals", "list", *NOBODY], 3, {"error": "unreachable"}),
    Row("status-list of none", lambda p: ["status-list", *p.as_caller("gate")], 2, {"error": "request_invalid"}),
    Row("status-list by nobody", lambda p: ["status-list", *NOBODY], 3, {"error": "unreachable"}),
    Row("policy lint", lambda p: ["policy", "lint", p.folder / "rules"], 0, {"remarks": []}),
    Row("policy init", lambda p: ["policy", "init", p.folder / "bundle"], 0, {}),
    Row("policy init again", lambda p: ["policy", "init", p.folder], 2, {"error": "request_invalid"}),
    Row("policy validate nothing", lambda p: ["policy", "validate", p.folder], 2, {"error": "policy_invalid"}),
    Row("policy test nothing", lambda p: ["policy", "test", p.folder / "no"], 2, {"error": "policy_invalid"}),
    Row("policy diff by nobody", lambda p: ["policy", "diff", BUNDLE, *NOBODY], 3, {"error": "unreachable"}),
    Row("policy diff of one", lambda p: ["policy", "diff", BUNDLE, BUNDLE], 0, {"relation": "equal"}),
    Row("policy show by nobody", lambda p: ["policy", "show", *NOBODY], 3, {"error": "unreachable"}),
    Row(
        "policy activate as a gate",
        lambda p: ["policy", "activate", "--none", *p.as_caller("gate")],
        1,
        {"error": "permission_denied"},
    ),
    Row("demo in a full folder", lambda p: ["demo", "--keep", p.folder], 2, {"error": "request_invalid"}),
    Row("keys show nothing", lambda p: ["keys", "show", p.folder / "none.key"], 2, {"error": "request_invalid"}),
    Row(
        "dev identity of another domain",
        lambda p: ["dev", "identity", p.folder / "ids", "--trust-domain", "dev.test", "spiffe://other.test/a"],
        2,
        {"error": "request_invalid"},
    ),
    Row("serve nothing", lambda p: ["serve", "--config", p.folder / "none.toml"], 2, {"error": "request_invalid"}),
]


def _id(place: Place) -> str:
    """A delegation that is there to be revoked, and that no other row needs."""
    line = ("issue", "--to", place.folder / "k.key.jwk", "--grant", GRANT, *place.as_caller("alice"), "--json")
    return str(json.loads(invoke(*line)[1])["id"])


def test_every_command_is_in_the_table() -> None:
    assert {row.name.split()[0] for row in TABLE} == set(app._COMMANDS)


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_one_json_value_whatever_comes_of_it(row: Row, place: Place) -> None:
    line = row.line(place)
    end = line.index("--") if "--" in line else len(line)  # behind it stands another program's line
    code, out, err = invoke(*line[:end], "--json", *line[end:])
    told = json.loads(out)
    assert out.count("\n") == 1
    assert isinstance(told, dict)
    assert (code, {name: told.get(name) for name in row.holds}) == (row.code, row.holds), err
    assert err.count("\n") == (1 if "error" in told or code > 1 or "detail" in told else 0)
    if "error" in told:
        assert told.keys() == {"error", "detail"}
        assert told["detail"] in err


def test_without_json_an_error_leaves_stdout_empty(place: Place) -> None:
    for row in TABLE:
        if "error" in row.holds:
            assert invoke(*row.line(place))[:2] == (row.code, ""), row.name


def test_serve_prints_its_one_line_with_and_without_json(service: Service, tmp_path: Path) -> None:
    arguments = service.process.args
    assert isinstance(arguments, list)
    for flags in (("--json",), ()):
        line = command("serve", "--config", arguments[-1], "--ledger", "memory", "--listen", "127.0.0.1:0", *flags)
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            ready = process.stdout.readline()
            process.terminate()
            assert process.wait(20) == 0
            assert process.stdout.read() == ""
        assert json.loads(ready)["serving"].startswith("127.0.0.1:")


@pytest.mark.parametrize(("installed", "told"), [(False, "0+source"), (True, "7.8.9")])
def test_the_version_is_told_from_an_installation_and_from_a_source_tree(*, installed: bool, told: str) -> None:
    program = textwrap.dedent(f"""
        from importlib import metadata
        def version(name):
            if {installed}:
                return "7.8.9"
            raise metadata.PackageNotFoundError(name)
        metadata.version = version
        from chain.cli import main
        main(["--version"])
    """)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"chain, version {told}\n", "")


@pytest.mark.parametrize(("at_least", "said"), [(False, "2 fell\n"), (True, "at least 2 fell\n")])
def test_what_was_not_counted_to_its_end_is_told_as_such(
    played: Played, monkeypatch: pytest.MonkeyPatch, *, at_least: bool, said: str
) -> None:
    monkeypatch.setattr(Kept, "revoke", lambda *_, **__: Revoked(("x", "y"), 2, 7, at_least=at_least))
    line = ("revoke", "A" * 43, "--ledger", played.folder)
    assert invoke(*line)[1].startswith(said)
    assert json.loads(invoke(*line, "--json")[1])["at_least"] is at_least
