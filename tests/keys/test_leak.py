"""No secret leaves a server that runs: not in its log, its errors, its ledger, nor in what the kernel tells of it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from chain.base64url import b64decode
from chain.cli import main
from chain.identity import keyfile, sealed
from chain.identity.sealed import MIN_MEMORY, MIN_OPS, Cost

ISSUER = "https://issuer.example"
PASSPHRASE = b"sentinel passphrase 7c1d"
BEARER = b"sentinel-bearer-5e0f9a7b3c2d1e4f"
KEY = keyfile.generate()
SECRETS = {"seed": b64decode(KEY.d.encode()), "passphrase": PASSPHRASE, "bearer": BEARER}


def encodings(secret: bytes) -> Iterator[bytes]:
    """Every way in which a secret could have been written down."""
    yield from (secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret).rstrip(b"=")
    yield base64.b32encode(secret).rstrip(b"=")
    yield ", ".join(map(str, secret)).encode()


def chain(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


class Played(NamedTuple):
    folder: Path
    limits: str
    seen: dict[str, bytes]


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def asked(process: subprocess.Popen[bytes], folder: Path, bearer: Path, wrong: Path) -> tuple[str, dict[str, bytes]]:
    """What the kernel tells of a server, and what it answers to calls that pass and calls that fail."""
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["serving"]
    proc = Path(f"/proc/{process.pid}")
    seen = {"cmdline": (proc / "cmdline").read_bytes()}
    try:
        seen["environ"] = (proc / "environ").read_bytes()
    except PermissionError:
        assert os.geteuid() != 0  # what it is for: only root still may
    there = ("--server", address, "--credential-file")
    issue = ("issue", "--to", folder / "agent.jwk", "--grant", '{"tools":{"mail.read":{}}}', *there)
    answers = {
        "allowed": chain(*issue, bearer),
        "stranger": chain(*issue, wrong),
        "too long": chain(*issue, bearer, "--lifetime", "3650d"),
    }
    assert answers["allowed"].exit_code == 0, answers["allowed"].output
    assert [name for name, answer in answers.items() if answer.exit_code] == ["stranger", "too long"]
    assert (proc / "mem").stat().st_uid == 0  # root's, whoever runs it, once it is not dumpable
    return (proc / "limits").read_text(), seen | {name: answer.output.encode() for name, answer in answers.items()}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("leak")
    sealed.save(folder / "issuer.key", sealed.seal(KEY, PASSPHRASE, Cost(MIN_OPS, MIN_MEMORY)))
    passed = private(folder / "passphrase", PASSPHRASE)
    bearer, wrong = private(folder / "bearer", BEARER), private(folder / "wrong", BEARER[:-1])
    (folder / "agent.jwk").write_text(keyfile.generate().signer().key.to_json())
    callers = [{"name": "desk", "roles": ["issuer", "operator"], "credentials": [sha256(BEARER).hexdigest()]}]
    anchors = [{"jwk": json.loads(KEY.signer().key.to_json()), "iss": ISSUER}]
    serving = [
        *(sys.executable, "-m", "chain", "serve", "--listen", "127.0.0.1:0", "--ledger", folder / "ledger"),
        *("--audience", "https://chain.example", "--issuer", ISSUER, "--issuer-key", folder / "issuer.key"),
        *("--callers", json.dumps(callers), "--anchors", json.dumps(anchors), "--policy", "none"),
        *("--roots-must-name", "[]", "--log-level", "debug", "--passphrase-file"),
    ]
    refused = subprocess.run([*serving, wrong], capture_output=True, timeout=20, check=False)
    assert (refused.returncode, b"wrong passphrase" in refused.stderr) == (2, True)
    with subprocess.Popen([*serving, passed], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            limits, seen = asked(process, folder, bearer, wrong)
        finally:
            process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=20)
    assert process.returncode == 0
    seen |= {"refused": refused.stdout + refused.stderr, "out": out, "log": log}
    seen |= {str(path): path.read_bytes() for path in (folder / "ledger").rglob("*") if path.is_file()}
    return Played(folder, limits, seen)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_written_anywhere(played: Played, name: str) -> None:
    assert len(played.seen) >= 9
    assert played.seen["log"]
    found = [(where, how) for where, data in played.seen.items() for how in encodings(SECRETS[name]) if how in data]
    assert found == []


def test_the_search_would_find_them(played: Played) -> None:
    for name, where in (("passphrase", "passphrase"), ("bearer", "bearer")):
        assert any(how in (played.folder / where).read_bytes() for how in encodings(SECRETS[name]))
    assert KEY.d.encode() in set(encodings(SECRETS["seed"]))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_server_leaves_no_core_dump(played: Played) -> None:
    line = next(line for line in played.limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]
