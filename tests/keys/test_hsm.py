"""A server whose issuer's key lies in a token: from a key that is made to a root that a stranger judges."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from chain.base64url import b64decode
from chain.cli import main
from chain.identity import keyfile
from tests.keys.conftest import PIN

if TYPE_CHECKING:
    from tests.keys.softhsm import SoftToken

ISSUER, BEARER, ENFORCER = "https://issuer.example", b"sentinel-bearer-5e0f9a7b3c2d1e4f", "https://pep.example"


def chain(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), input=stdin)


def told(*arguments: str | Path, stdin: str | None = None) -> Any:
    ran = chain(*arguments, "--json", stdin=stdin)
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


class Desk(NamedTuple):
    """A folder with all that a server and its callers need."""

    folder: Path
    token: SoftToken
    seen: list[bytes]

    def where(self, pin: Path | None = None) -> list[str | Path]:
        place = self.token.place
        named: list[str | Path] = [
            "--module",
            place.module,
            "--token-label",
            place.token,
            "--pin-file",
            pin or place.pin_file,
        ]
        return [*named, "--key-label", "served", "--key-id", "5e"]

    def serve(self, pin: Path | None = None) -> list[str]:
        place = self.token.place
        hsm = {
            "module": str(place.module),
            "token_label": place.token,
            "pin_file": str(pin or place.pin_file),
            "key_label": "served",
        }
        callers = [{"name": "desk", "roles": ["issuer", "operator"], "credentials": [sha256(BEARER).hexdigest()]}]
        return [
            *(
                sys.executable,
                "-m",
                "chain",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--ledger",
                str(self.folder / "ledger"),
            ),
            *("--audience", "https://chain.example", "--issuer", ISSUER, "--issuer-pkcs11", json.dumps(hsm)),
            *("--callers", json.dumps(callers), "--policy", "none", "--roots-must-name", "[]", "--log-level", "debug"),
        ]

    @contextmanager
    def served(self) -> Iterator[list[str | Path]]:
        """A server that runs, and the options that a command reaches it by; all that it wrote is kept."""
        with subprocess.Popen(self.serve(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["serving"]
            self.seen.append(Path(f"/proc/{process.pid}/cmdline").read_bytes() if sys.platform == "linux" else b"")
            try:
                yield ["--server", address, "--credential-file", self.folder / "bearer"]
            finally:
                process.send_signal(signal.SIGTERM)
            self.seen.extend(process.communicate(timeout=20))
        assert process.returncode == 0

    def issue(self, server: list[str | Path]) -> str:
        grant = '{"tools":{"mail.read":{}}}'
        made: str = told("issue", "--to", self.folder / "agent.jwk", "--grant", grant, *server)["tokens"][0]
        return made

    def judged(self, tokens: list[str], anchor: dict[str, Any]) -> tuple[str, str]:
        question = {"tokens": tokens, "trust_anchors": [anchor], "tool": "mail.read", "args": {}, "holder": "channel"}
        question |= {"audience": ENFORCER, "catalogue": {"mail.read": "read"}}
        answer = json.loads(chain("verify", "-", stdin=json.dumps(question)).stdout)
        return answer["effect"], answer["reason"]


@pytest.fixture(scope="module")
def desk(token: SoftToken, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("hsm")
    for name, content in (("bearer", BEARER), ("wrong", b"00000000")):
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
    (folder / "agent.jwk").write_text(keyfile.generate().signer().key.to_json())
    return Desk(folder, token, [])


class Played(NamedTuple):
    """What came of a key that was made, and of two servers, one after the other, that had it certify."""

    key: Any
    tokens: list[str]
    refused: subprocess.CompletedProcess[bytes]


@pytest.fixture(scope="module")
def played(desk: Desk) -> Played:
    key = told("keys", "hsm", "new", *desk.where())
    refused = subprocess.run(desk.serve(desk.folder / "wrong"), capture_output=True, timeout=20, check=False)
    desk.seen.extend((refused.stdout, refused.stderr))
    tokens = []
    for _ in range(2):
        with desk.served() as server:
            tokens.append(desk.issue(server))
    return Played(key, tokens, refused)


def test_who_knows_the_hsms_key_alone_judges_the_roots_of_every_server_that_had_it(desk: Desk, played: Played) -> None:
    anchor = {"jwk": played.key["jwk"], "iss": ISSUER, "certifies": True}
    for one in played.tokens:
        assert desk.judged([one], anchor) == ("ALLOW", "allowed")
        assert desk.judged([one], anchor | {"certifies": False})[0] == "DENY"
        assert desk.judged([one], anchor | {"iss": "https://b.example"}) == ("DENY", "issuer_mismatch")
    names = [json.loads(b64decode(one.split(".")[0].encode()))["kid"] for one in played.tokens]
    assert len({*names, played.key["thumbprint"]}) == 3


def test_the_commands_show_a_key_and_make_none_twice(desk: Desk, played: Played) -> None:
    assert told("keys", "hsm", "show", *desk.where()) == played.key
    assert played.key["thumbprint"] in chain("keys", "hsm", "show", *desk.where()).stdout
    for wrong, said in (
        (("new", *desk.where()), "is there already"),
        (("show", *desk.where(desk.folder / "wrong")), "refused the PIN"),
        (("show", *desk.where(), "--key-id", "xyz"), "not hexadecimal"),
    ):
        ran = chain("keys", "hsm", *wrong)
        assert (ran.exit_code, said in ran.output, "00000000" in ran.output) == (2, True, False)


def test_a_wrong_pin_does_not_start_a_server(played: Played) -> None:
    ran = played.refused
    assert (ran.returncode, b"refused the PIN" in ran.stderr, b"00000000" in ran.stderr) == (2, True, False)


@pytest.mark.usefixtures("played")
def test_the_pin_is_written_nowhere(desk: Desk) -> None:
    seen = [*desk.seen, *(path.read_bytes() for path in desk.folder.rglob("*") if path.is_file())]
    assert len(seen) > 10
    pin = PIN.encode()
    spelled = [pin, pin.hex().encode(), base64.b64encode(pin).rstrip(b"="), base64.b32encode(pin).rstrip(b"=")]
    assert [how for how in spelled if any(how in each for each in seen)] == []
    assert pin in desk.token.place.pin_file.read_bytes()  # the search would find it
