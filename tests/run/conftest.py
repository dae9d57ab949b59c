"""A connection that is lent, and a service that programs are started for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

from chain.client import Client
from chain.identity import keyfile
from chain.key import KeySigner
from tests.cli.conftest import command
from tests.run.lender import Lent
from tests.run.lender import lent as lending

PEP, BOSS = "https://desk.example", "spiffe://dev.test/agents/boss"
CALLERS = {
    "desk": {"roles": ["issuer", "operator", "agent"], "audience": PEP},
    "boss": {"roles": ["agent"], "audience": PEP, "jwk_file": "boss.jwk"},
    "unnamed": {"roles": ["issuer"]},
    "silent": {"roles": ["issuer"], "audience": PEP},
}


@pytest.fixture(scope="session")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    """One for all: a short path, because a unix socket's has 107 bytes."""
    with lending(Path(tmp_path_factory.mktemp("l"))) as made:
        yield made


class Service(NamedTuple):
    """`chain serve` in a process of its own."""

    address: str
    folder: Path

    def secret(self, caller: str) -> Path:
        return self.folder / f"{caller}.secret"

    def as_caller(self, caller: str) -> tuple[str, ...]:
        return ("--server", self.address, "--credential-file", str(self.secret(caller)))

    def client(self, caller: str = "desk") -> Client:
        return Client(self.address, self.secret(caller).read_text(), timeout=20)

    def key(self, name: str) -> KeySigner:
        return keyfile.load(self.folder / f"{name}.key")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    for name in ("issuer", "boss"):
        private = keyfile.generate()
        keyfile.save(folder / f"{name}.key", private)
        (folder / f"{name}.jwk").write_text(private.signer().key.to_json())
    callers = []
    for name, facts in CALLERS.items():
        secret = folder / f"{name}.secret"
        secret.touch(0o600)
        secret.write_text(f"secret-of-{name}".ljust(40, "x"))
        named = {key: str(folder / value) if key == "jwk_file" else value for key, value in facts.items()}
        callers.append({"name": name, "credentials": [sha256(secret.read_bytes()).hexdigest()], **named})
    (folder / "catalogue.json").write_text('{"mail.read": "read", "mail.send": "act", "bank.pay": "act"}')
    told = {
        "--catalogue": folder / "catalogue.json",
        "--listen": "127.0.0.1:0",
        "--ledger": "memory",
        "--policy": "none",
        "--audience": "https://chain.example",
        "--issuer": "https://issuer.example",
        "--issuer-key": folder / "issuer.key",
        "--anchors": json.dumps([{"jwk_file": str(folder / "issuer.jwk"), "iss": "https://issuer.example"}]),
        "--callers": json.dumps(callers),
        "--agents": json.dumps([{"jwk_file": str(folder / "boss.jwk"), "id": BOSS, "owner": "team"}]),
    }
    arguments = [part for pair in told.items() for part in pair]
    with subprocess.Popen(
        command("serve", *arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield Service(json.loads(process.stdout.readline())["serving"], folder)
        process.terminate()
        assert process.wait(20) == 0
