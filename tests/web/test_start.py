"""The HTTP side as an operator meets it: what it says, what it refuses, and over TLS."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import chain
from chain.cli import http
from chain.errors import ConfigurationError
from chain.service.safety import require_safe
from chain.web.server import _listening

from .conftest import Host
from .hosted import Hosted, bearer, free_port, settings

REFUSALS = [
    ({"http_listen": "0.0.0.0:0"}, "not a loopback address"),
    ({"http_listen": "chain.example:80"}, "not a loopback address"),
    ({"http_listen": "8080"}, "`http_listen` is host:port"),
    ({"http_listen": "127.0.0.1:x"}, "`http_listen` is host:port"),
    ({"listen": ""}, "nothing to listen on"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSALS)
def test_what_is_unsafe_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        require_safe(settings(tmp_path, **changes))
    require_safe(settings(tmp_path))


def test_a_port_in_use_is_refused(host: Host, web: Hosted) -> None:
    with pytest.raises(ConfigurationError, match="cannot be bound"):
        host(http_listen=web.server.http_address)
    with pytest.raises(ConfigurationError, match="is no address here"):
        _listening("x" * 70, 0)
    assert host(http_listen="127.0.0.1:0").client.get("/healthz").status_code == 200


def test_without_the_extra_it_is_named(tmp_path: Path, web: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    told = settings(tmp_path)
    assert http.beside(told.model_copy(update={"http_listen": ""}), web.authority) is None
    assert http.beside(told, web.authority) is not None
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    there = {name: module for name, module in sys.modules.items() if name.startswith("chain.web")}
    for name, module in there.items():  # a package names its modules too, and has to name the same ones afterwards
        package, _, attribute = name.rpartition(".")
        monkeypatch.setattr(there.get(package, chain), attribute, module)
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigurationError, match=r"needs the extra `web`: pip install 'chain-authz\[web\]'"):
        http.beside(told, web.authority)
    assert http.beside(told.model_copy(update={"http_listen": ""}), web.authority) is None


def pair(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "tls.pem", folder / "tls.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.touch(mode=0o600)
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return cert, private


def test_with_a_certificate_it_speaks_tls_and_nothing_else(host: Host, tmp_path: Path) -> None:
    cert, key = pair(tmp_path)
    told = {"tls_cert": cert, "tls_key": key, "http_listen": "localhost:0"}
    web = host(**told)
    port = web.server.http_address.rpartition(":")[2]
    context = ssl.create_default_context(cafile=cert)
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(f"https://localhost:{port}/healthz").text == "serving\n"
        told = client.post(f"https://localhost:{port}/introspect", data={"token": "x"}, headers=bearer("auditor"))
        assert told.json() == {"active": False}
        with pytest.raises(httpx.TransportError):
            client.get(f"http://localhost:{port}/healthz")
    with httpx.Client(trust_env=False) as stranger, pytest.raises(httpx.ConnectError):
        stranger.get(f"https://localhost:{port}/healthz")
    require_safe(settings(tmp_path, tls_cert=cert, tls_key=key, http_listen="0.0.0.0:0"))


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, web: Hosted) -> None:
    cert, _ = pair(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = pair(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="no certificate with its private key"):
        http.beside(settings(tmp_path, tls_cert=cert, tls_key=other), web.authority)
    assert http.beside(settings(tmp_path, tls_cert=cert, tls_key=tmp_path / "tls.key"), web.authority) is not None


PAGE = Path(__file__).parents[2] / "docs" / "http.md"


def blocks(title: str) -> list[str]:
    """The indented blocks under a heading of the page."""
    told = PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return [textwrap.dedent(found) for found in re.findall(r"(?:^    .*\n)+", told, re.MULTILINE)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_the_minute_of_the_page_is_played(tmp_path: Path) -> None:
    config, commands = blocks("A minute")
    grpc, http_port = free_port(), free_port()
    before, _, after = commands.partition("chain serve --config chain.toml\n")
    environment = {**os.environ, "PYTHONPATH": str(PAGE.parents[1]), "NO_PROXY": "*"}

    def play(script: str) -> list[str]:
        chain = f'chain() {{ "{sys.executable}" -m chain "$@"; }}\n'
        script = script.replace("50051", str(grpc)).replace("8080", str(http_port)).replace("\ncurl", "\necho\ncurl")
        done = subprocess.run(
            ["bash", "-euc", chain + script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    hashed = re.findall(r"^sha256 +([0-9a-f]{64})$", "\n".join(play(before)), re.MULTILINE)
    config = config.replace("50051", str(grpc)).replace("8080", str(http_port)).replace("…", hashed[0])
    (tmp_path / "chain.toml").write_text(config)
    command = [sys.executable, "-m", "chain", "serve", "--config", "chain.toml"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["http"] == f"127.0.0.1:{http_port}"
        told = "".join(play(after))
        asked = play(after.splitlines()[-2].replace("revoke", "introspect"))
        process.terminate()
        log = process.stderr.read()
        assert process.wait(20) == 0
    keys, active = json.JSONDecoder().raw_decode(told)
    assert [key.keys() for key in keys["keys"]] == [{"kty", "crv", "x", "kid", "alg", "use"}]
    assert json.loads(told[active:])["txn"] == "t1"
    assert asked == ['{"active":false}']
    events = [line["event"] for line in map(json.loads, log.splitlines()) if "event" in line]
    assert events == ["serving", "draining", "stopped"]


def test_the_page_names_every_route(host: Host) -> None:
    web = host(ui=True)
    first = PAGE.read_text().partition("\n## ")[0]
    table = [line.split("|")[1].strip().strip("`") for line in first.splitlines() if line.startswith("| `")]
    served = [row.path.replace("/lists/1", "/status-list") for row in web.side.rows]
    assert sorted(name.removeprefix("POST ") for name in table) == sorted(served)
    assert {name.startswith("POST ") for name in table} == {True, False}
