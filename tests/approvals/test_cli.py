"""`chain approvals`, and what `chain check` says of a call that waits."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain import mint
from chain.cli import main
from chain.cli.output import error_data, error_text
from chain.client import Client
from chain.decision import Awaited, Finding, denied
from chain.errors import DeniedError
from chain.order import Issue
from chain.reason import Reason
from chain.service.server import ChainServer
from tests.approvals.office import ANN, human
from tests.approvals.served import ROOM, client, key_file, server_of
from tests.client.running import secret, serving
from tests.support import ALICE, HOME, PEP

HOSTILE = 'x\n---\nbinding  AAAA\x1b[2J\u202e\u200b\u3164 | "amount": 1'


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[ChainServer]:
    with serving(lambda: server_of(directory, **ROOM)) as served:
        yield served


class Place:
    """Files of people and of an agent, and the options that reach the server."""

    def __init__(self, directory: Path, server: ChainServer) -> None:
        self.directory, self.server = directory, server
        self.clients: list[Client] = []
        for name in ("desk", "agent", "auditor", "issuer"):
            self._write(directory / f"{name}.secret", secret(name))
        issuer = client(server.address, "issuer")
        order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"bank.pay": {}}}), lifetime=600)
        self.tokens = [issuer.issue(order).token]
        issuer.close()
        self.chain = directory / "root.chain"
        self._write(self.chain, self.tokens[0])
        self.asked = 0

    def _write(self, file: Path, content: str) -> None:
        if not file.exists():
            file.touch(0o600)
            file.write_text(content)

    def key(self, name: str) -> Path:
        return key_file(self.directory, name)

    def to(self, name: str) -> Sequence[str]:
        return ("--server", self.server.address, "--credential-file", str(self.directory / f"{name}.secret"))

    def run(self, *line: object, caller: str = "desk") -> tuple[int, str, str]:
        result = CliRunner().invoke(main, [*map(str, line), *self.to(caller)])
        return result.exit_code, result.stdout, result.stderr

    def json(self, *line: object, code: int = 0, caller: str = "desk") -> Any:
        ended = self.run(*line, "--json", caller=caller)
        assert ended[0] == code, ended
        return json.loads(ended[1])

    def check(self, **arguments: object) -> Any:
        """`chain check` of a payment that nobody asked about yet."""
        line = ("check", "bank.pay", json.dumps(arguments), "--chain", self.chain, "--key", self.key("alice"))
        return self.json(*line, "--audience", PEP, code=1, caller="agent")

    def waits(self, **arguments: object) -> str:
        self.asked += 1
        told = self.check(n=self.asked, **arguments)
        assert told["effect"] == "APPROVAL_REQUIRED"
        name: str = told["awaits"]["request_id"]
        return name

    def approve(self, request: str, who: str, *more: object) -> Any:
        return self.json("approvals", "approve", request, "--key", self.key(who), "--yes", *more)


@pytest.fixture(scope="module")
def place(directory: Path, server: ChainServer) -> Place:
    return Place(directory, server)


def test_an_agent_is_told_what_it_waits_for(place: Place) -> None:
    line = ("check", "bank.pay", '{"n": 0}', "--chain", place.chain, "--key", place.key("alice"), "--audience", PEP)
    code, out, _ = place.run(*line, caller="agent")
    told = place.check(n=0)
    assert code == 1
    assert out.startswith("APPROVAL_REQUIRED: approval_required\n")
    awaits = told["awaits"]
    assert awaits["request_id"] in out
    assert (awaits["threshold"], awaits["approvals"]) == (2, 0)
    assert time.time() < awaits["expires_at"] < time.time() + 901


def test_two_people_approve_and_the_agent_goes_on(place: Place) -> None:
    request = place.waits()
    assert place.approve(request, "ann")["state"] == "pending"
    shown = place.json("approvals", "show", request)
    assert shown["missing"] == ['1 person more ("policy:approval.critical")']
    assert [vote["approver"] for vote in shown["votes"]] == [human("ann").id]
    assert "root_ends" not in shown
    code, out, err = place.run("approvals", "approve", request, "--key", place.key("ben"), "--yes")
    assert (code, out) == (0, "approved\n")
    assert "asks for this, and only this" in err  # what was signed
    arguments = {"n": place.asked}
    line = ("check", "bank.pay", json.dumps(arguments), "--chain", place.chain, "--key", place.key("alice"))
    assert place.json(*line, "--audience", PEP, caller="agent")["effect"] == "ALLOW"
    assert place.json("approvals", "show", request)["state"] == "consumed"


def test_whose_word_does_not_count(place: Place) -> None:
    request = place.waits()
    told = place.json("approvals", "approve", request, "--key", place.key("alice"), "--yes", code=1)
    assert told["error"] == "approver_ineligible"
    place.approve(request, "ann")
    told = place.json("approvals", "approve", request, "--key", place.key("ann"), "--yes", code=1)
    assert told["error"] == "approver_ineligible"
    told = place.json("approvals", "approve", "nothing", "--key", place.key("ann"), "--yes", code=1)
    assert told["error"] == "not_found"
    told = place.json("approvals", "list", code=1, caller="agent")
    assert told["error"] == "permission_denied"


def test_a_refusal(place: Place) -> None:
    request = place.waits()
    line = ("approvals", "deny", request, "--key", place.key("cid"), "--yes", "--justification", "no such invoice")
    code, out, _ = place.run(*line)
    assert (code, out) == (0, "denied\n")
    assert place.check(n=place.asked)["reason"] == "approval_denied"
    assert [one["id"] for one in place.json("approvals", "list", "--state", "denied")["approvals"]] == [request]
    assert "no such invoice" in place.run("approvals", "show", request)[1]


def test_an_emergency_stays_in_review(place: Place) -> None:
    assert place.run("approvals", "review")[:2] == (0, "")
    request = place.waits()
    bare = ("approvals", "approve", request, "--key", place.key("ann"), "--yes", "--emergency")
    assert place.json(*bare, code=2)["error"] == "request_invalid"
    assert place.approve(request, "ann", "--emergency", "--justification", "the bank closes")["in_review"] is True
    code, out, _ = place.run("approvals", "review", caller="auditor")
    assert code == 1
    assert request in out
    assert "the bank closes" in out
    assert [one["id"] for one in place.json("approvals", "review", code=1)["approvals"]] == [request]
    sign = ("approvals", "sign-off", request, "--yes", "--key")
    assert place.json(*sign, place.key("ben"), code=1)["error"] == "request_closed"  # it may still be used
    line = ("check", "bank.pay", json.dumps({"n": place.asked}), "--chain", place.chain, "--key", place.key("alice"))
    assert place.json(*line, "--audience", PEP, caller="agent")["effect"] == "ALLOW"
    assert place.json(*sign, place.key("ann"), code=1)["error"] == "approver_ineligible"
    assert place.json(*sign, place.key("ben"))["signed_off"]["approver"] == human("ben").id
    assert place.json("approvals", "review") == {"approvals": []}
    shown = place.run("approvals", "show", request)[1]
    assert "review   an emergency; signed off by" in shown


def test_what_an_agent_wrote_stays_in_its_frame(place: Place) -> None:
    request = place.waits(note=HOSTILE, wide="漢" * 200, long="y" * 500)
    code, out, _ = place.run("approvals", "show", request)
    assert code == 0
    assert "".join(out.split("\n")).isprintable()
    assert not set(out) & set("\x1b\u202e\u200b\u3164")
    lines = out.splitlines()
    first, last = lines.index("---"), len(lines) - 1 - lines[::-1].index("---")
    assert all(line.startswith(("  | ", "  + ")) for line in lines[first + 1 : last])
    assert max(sum(1 if char.isascii() else 2 for char in line) for line in lines[first + 1 : last]) <= 80
    assert [line for line in lines if line.startswith("binding")] == [
        f"binding  {place.json('approvals', 'show', request)['binding']} (of what is shown)"
    ]
    assert place.json("approvals", "show", request)["action"]["arguments"]["note"] == HOSTILE
    for caller in ("desk", "auditor"):
        code, out, _ = place.run("approvals", "list", caller=caller)
        assert (code, "yyyy" in out) == (0, False)
    assert '  |     "amount' not in "\n".join(lines[:first])


def answered(place: Place, request: str, answer: str) -> int:
    """Run `approve` on a terminal, and type an answer."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "chain", "approvals", "approve", request, "--key", str(place.key("ann"))]
    process = subprocess.Popen(
        [*line, *place.to("desk")], stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    assert process.stderr is not None
    os.write(ours, f"{answer}\n".encode())
    said = process.stderr.read()
    code = process.wait(30)
    os.close(ours)
    process.stderr.close()
    assert "asks for this, and only this" in said
    assert "Approve what stands above?" in said
    return code


def test_a_person_is_asked_whether_it_is_meant(place: Place) -> None:
    request = place.waits()
    told = place.json("approvals", "approve", request, "--key", place.key("ann"), code=2)
    assert told["error"] == "request_invalid"  # nobody is there
    assert answered(place, request, "n") == 1
    assert place.json("approvals", "show", request)["votes"] == []
    assert answered(place, request, "y") == 0
    assert len(place.json("approvals", "show", request)["votes"]) == 1


def test_a_word_lives_as_long_as_it_says(place: Place) -> None:
    request = place.waits()
    vote = place.approve(request, "ann", "--lifetime", "90s")["votes"][0]
    assert vote["until"] - vote["at"] == 90
    assert vote["key"] == ANN.key.thumbprint


def test_a_list_says_where_it_goes_on(place: Place) -> None:
    names = [place.waits() for _ in range(3)][::-1]
    first = place.json("approvals", "list", "--limit", 2)
    assert [one["id"] for one in first["approvals"]] == names[:2]
    assert first["next"]
    second = place.json("approvals", "list", "--limit", 2, "--page", first["next"])
    assert second["approvals"][0]["id"] == names[2]
    code, out, err = place.run("approvals", "list", "--limit", 2)
    assert (code, f'--page "{first["next"]}"' in err, names[2] in out) == (0, True, False)
    whole = place.json("approvals", "list")
    assert (whole["next"], len(whole["approvals"]) > 2) == ("", True)
    assert place.run("approvals", "list")[2] == ""
    told = place.json("approvals", "list", "--state", "denied", "--page", first["next"], code=2)
    assert told["error"] == "request_invalid"  # of another search


def test_a_word_is_for_the_authority_that_the_person_means(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    request = place.waits()
    line = ("approvals", "approve", request, "--key", place.key("ann"), "--yes")
    told = place.json(*line, "--authority", "https://other.example", code=1)
    assert told["error"] == "statement_invalid"
    monkeypatch.setenv("CHAIN_AUTHORITY", "https://other.example")
    code, _, err = place.run(*line)
    assert (code, "https://other.example" in err, HOME in err) == (1, False, True)
    assert place.json("approvals", "show", request)["votes"] == []
    assert len(place.json(*line, "--authority", HOME)["votes"]) == 1


def test_an_error_names_what_it_waits_for() -> None:
    """`chain issue` and `chain delegate` are refused with an error; it is no silent denial either."""
    awaits = Awaited(request_id="r1", binding="b", expires_at=1_800_000_000, threshold=2, approvals=1)
    finding = Finding(reason=Reason.APPROVAL_REQUIRED, hop=None, detail="needs 2 people")
    decision = denied(finding, at=0).model_copy(update={"awaits": awaits})
    told = error_data(DeniedError(decision))
    assert (told["effect"], told["awaits"]["request_id"]) == ("APPROVAL_REQUIRED", "r1")
    text = error_text(DeniedError(decision))
    assert text.endswith("waits for request r1 until 2027-01-15 08:00:00Z: 1 of 2 approved")
    assert "awaits" not in error_data(DeniedError(denied(finding, at=0)))
