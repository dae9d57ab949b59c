"""What docs/identity.md tells, played by hand: each command in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chain.cli import main
from tests.cli.conftest import command
from tests.identity import provider as login
from tests.pages import play

PEOPLE = """
listen = "127.0.0.1:0"
ledger = "memory"
audience = "https://chain.dev.test"
policy = "none"
anchors = [{{jwk_file = "{folder}/issuer.pub", iss = "https://issuer.dev.test"}}]

[[identity.oidc]]
issuer = "{issuer}"
audience = ["https://chain.example.org"]

[[callers]]
name = "ann"
roles = ["approver", "auditor"]
oidc = {{issuer = "{issuer}", subject = "248289761001"}}

[[callers]]
name = "payments"
roles = ["approver"]
oidc = {{issuer = "{issuer}", claims = {{groups = "payments-approvers"}}}}
"""


@contextmanager
def serving(*arguments: str | Path) -> Iterator[dict[str, object]]:
    """A command that says in one line of JSON where it serves; it ends well."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            assert process.wait(20) == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.timeout(120)
def test_page(tmp_path: Path) -> None:  # a short name: a socket's path has 107 bytes at most
    play("identity.md", tmp_path, more_than=3, seconds=110)


def test_people_as_the_page_tells_it(tmp_path: Path) -> None:
    keygen = ("keygen", str(tmp_path / "issuer.jwk"), "--public", str(tmp_path / "issuer.pub"))
    assert CliRunner().invoke(main, keygen).exit_code == 0
    held = tmp_path / "token"
    held.touch(0o600)
    with login.serving("a") as provider:
        file = tmp_path / "chain.toml"
        file.write_text(PEOPLE.format(folder=tmp_path, issuer=provider.issuer))
        now = int(time.time())

        def told(command: str, **said: object) -> Result:
            stated = {"iss": provider.issuer, "aud": "https://chain.example.org", "iat": now, "exp": now + 60} | said
            held.write_text(login.token(login.claims(**stated)) + "\n")
            asked = (*command.split(), "--server", str(server["serving"]), "--credential-file", str(held))
            return CliRunner().invoke(main, asked)

        with serving("serve", "--config", file) as server:
            assert told("approvals list", sub="248289761001").exit_code == 0
            assert told("suspensions", sub="248289761001").exit_code == 0
            assert told("approvals list", sub="eve", groups=["payments-approvers"]).exit_code == 0
            for said, refused in (
                (told("suspensions", sub="eve", groups=["payments-approvers"]), "no role that may call"),
                (told("approvals list", sub="eve"), f"no caller is configured for `{provider.issuer}#eve`"),
                (told("approvals list", sub="248289761001", aud="https://else.example"), "jwt_aud_mismatch"),
                (told("approvals list", sub="248289761001", iss=provider.issuer + "/"), "oidc_issuer_unknown"),
            ):
                assert (said.exit_code != 0, refused in said.stderr) == (True, True), said
