"""Identities in a minute, as docs/identity.md tells it: four commands, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from chain.cli import main
from tests.cli.conftest import command, run
from tests.identity import provider as login

CONFIGURATION = """
listen = ""
mtls_listen = "127.0.0.1:0"
ledger = "memory"
audience = "https://chain.dev.test"
issuer = "https://issuer.dev.test"
issuer_key = "{folder}/issuer.jwk"
policy = "none"
anchors = [{{jwk_file = "{folder}/issuer.pub", iss = "https://issuer.dev.test"}}]
agents = [{{id = "spiffe://dev.test/agents/alice", owner = "team", svid = true}}]
callers = [
  {{name = "issuer", roles = ["issuer"], spiffe = "spiffe://dev.test/ops/issuer"}},
  {{name = "agents", roles = ["agent"], audience = "https://pep.dev.test", spiffe = "spiffe://dev.test/agents/*"}},
]

[identity]
workload_api = "{api}"
"""

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


def test_the_recipe_of_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "i"
    assert run("keygen", tmp_path / "issuer.jwk", "--public", tmp_path / "issuer.pub").code == 0
    names = ("agents/alice", "agents/bob", "ops/issuer")
    with serving("dev", "identity", folder, "--trust-domain", "dev.test", "--server", "chain", *names) as ready:
        sockets = ready["sockets"]
        assert isinstance(sockets, dict)
        api = {name.removeprefix("spiffe://dev.test/"): path for name, path in sockets.items()}
        file = tmp_path / "chain.toml"
        file.write_text(CONFIGURATION.format(folder=tmp_path, api=api["chain"]))
        with serving("serve", "--config", file) as server:
            port = str(server["mtls"]).rpartition(":")[2]
            asked = ("--server", f"localhost:{port}", "--workload-api")
            grant = '{"tools":{"mail.send":{}},"limits":{"purposes":["mail"]}}'
            terms = ("--to", "spiffe://dev.test/agents/alice", "--task", "t1", "--owner", "team", "--grant", grant)
            refused = run("issue", *asked, api["agents/alice"], *terms)
            assert (refused.code, "no role that may call Issue" in refused.err) == (1, True)
            issued = run("issue", *asked, api["ops/issuer"], *terms)
            assert issued.code == 0, issued.err
            chain = tmp_path / "root.chain"
            chain.write_text(issued.out)
            call = ("--chain", chain, "--channel", "--purpose", "mail", "mail.send")
            allowed, stolen = (run("check", *asked, api[f"agents/{name}"], *call) for name in ("alice", "bob"))
            assert (allowed.code, allowed.out) == (0, "ALLOW\n"), allowed.err
            assert (stolen.code, "holder_mismatch" in stolen.out) == (1, True)
            both = run("check", *asked, api["agents/alice"], "--credential-file", tmp_path / "x", *call)
            assert both.code == 2
    assert run("check", "--workload-api", "unix:/x", *call).code == 2


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
