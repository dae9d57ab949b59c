"""`chain report` on a ledger, an export and a service: each page carries its own proof."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.browser import Page, browser, program
from chain import merkle
from chain.checkpoint import Checkpoint
from chain.cli import main
from chain.client import Client
from chain.mint import grant
from chain.notary import Notary
from chain.note import Note, NoteKey
from chain.order import Issue
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.store.memory import MemoryStore
from tests.client.running import secret, serving, settings
from tests.report.ledgers import KEY, SIGNER, element
from tests.support import ALICE, ROOT_KEY


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, words)])


def proven(file: Path) -> Checkpoint:
    """The checkpoint of a page, after its records were seen to give its root."""
    text = file.read_text()
    log = json.loads(element(text, "log"))
    head = Checkpoint.of(Note.parse(log["note"].encode()), NoteKey.parse(log["key"]))
    others = base64.b64decode(log["others"]["hashes"])
    leaves = {place: others[at * 32 : at * 32 + 32] for at, place in enumerate(log["others"]["records"])}
    for line in zlib.decompress(base64.b64decode(element(text, "records"))).split(b"\n"):
        leaves[json.loads(line)["revision"]] = merkle.leaf_hash(line)
    tree = merkle.Frontier()
    for place in range(1, head.size + 1):
        tree.add(leaves[place])
    assert tree.root == head.root
    return head


def test_of_a_ledger_at_hand(kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    result = run(out, "--ledger", kept)
    assert result.exit_code == 0, result.stderr
    assert "8 delegations, 28 calls and refusals" in result.stdout
    assert out.stat().st_mode & 0o777 == 0o600
    assert str(json.loads(element(out.read_text(), "log"))["key"]) in result.stdout
    assert proven(out).size >= 53  # whoever asks leaves records of its own


@pytest.mark.skipif(program() is None, reason="no chromium on PATH")
def test_in_a_browser(kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    assert run(out, "--ledger", kept).exit_code == 0
    with browser() as real:
        page = Page(real)
        page.open(out)
        page.until("document.querySelector('#card-proof').dataset.state === 'intact'")
        assert page.js("document.querySelectorAll('#graph .node').length") == 8
        assert (page.complaints, page.asked) == ([], [])


def test_as_of_an_instant_and_of_one_task(kept: Path, tmp_path: Path) -> None:
    first, out = tmp_path / "first.html", tmp_path / "out.html"
    assert run(first, "--ledger", kept).exit_code == 0
    times = [row[5] for row in json.loads(element(first.read_text(), "data"))["nodes"]["rows"]]
    result = run(out, "--ledger", kept, "--at", times[2] / 1000, "--json")
    assert json.loads(result.stdout)["delegations"] == 3
    assert json.loads(result.stdout)["records"] < json.loads(result.stdout)["checkpoint"] == proven(out).size
    result = run(out, "--ledger", kept, "--task", "conference", "--json")
    assert json.loads(result.stdout)["delegations"] == 3
    proven(out)
    result = run(out, "--ledger", kept, "--task", "none", "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]) == (1, "not_found")


def test_of_an_export(kept: Path, tmp_path: Path) -> None:
    export, out = tmp_path / "record.export", tmp_path / "out.html"
    told = CliRunner().invoke(main, ["audit", "export", str(export), "--ledger", str(kept), "--json"])
    key = json.loads(told.stdout)["key"]
    assert run(out, "--export", export, "--key", key).exit_code == 0
    assert proven(out).size == json.loads(told.stdout)["records"]
    result = run(out, "--export", export)
    assert (result.exit_code, element(out.read_text(), "log")) == (0, "null")
    assert "nothing in it is proven" in result.stdout
    assert run(out, "--export", export, "--key", str(KEY)).exit_code == 2  # of another log
    data = export.read_bytes()
    export.write_bytes(data.replace(b"the trip is paid", b"the trip is Paid"))
    before = out.read_bytes()
    assert run(out, "--export", export, "--key", key).exit_code == 3
    assert out.read_bytes() == before
    export.write_bytes(b"\n".join(line for line in data.split(b"\n") if not line.startswith(b'{"checkpoint"')))
    assert run(out, "--export", export, "--key", key).exit_code == 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChainServer]:
    told = settings(tmp_path)

    def make() -> ChainServer:
        notary = Notary(KEY.name, SIGNER)
        return ChainServer(compose(told, MemoryStore(), signer=ROOT_KEY, notary=notary), told, log=io.StringIO())

    with serving(make) as running:
        yield running


def test_of_a_service(server: ChainServer, tmp_path: Path) -> None:
    with Client(server.address, credential=secret("issuer")) as client:
        client.issue(Issue(holder=ALICE.key, grant=grant({"tools": {"mail.read": {}}}), lifetime=600))
    out, credential = tmp_path / "out.html", tmp_path / "operator.secret"
    credential.write_text(secret("operator"))
    credential.chmod(0o600)
    result = run(out, "--server", server.address, "--credential-file", credential)
    assert result.exit_code == 0, result.stderr
    assert proven(out).size == 4
    assert secret("operator") not in out.read_text()


def test_what_cannot_be_written_or_read_is_said(kept: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "none" / "out.html", "--ledger", kept).exit_code == 2
    assert run(tmp_path / "out.html").exit_code == 2
    precious = tmp_path / "issuer.key"
    precious.write_text("precious")
    assert run(precious, "--ledger", kept).exit_code == 2
    assert precious.read_text() == "precious"
    assert run(tmp_path / "out.html", "--ledger", kept, "--export", tmp_path / "none").exit_code == 2
    assert run(tmp_path / "out.html", "--ledger", kept, "--key", str(KEY)).exit_code == 2
    assert not (tmp_path / "out.html").exists()
