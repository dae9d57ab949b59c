"""Where the demonstration plays: a directory with keys, secrets and a configuration, and a server of its own.

The law of this file: nothing is pretended. The server is `chain serve` in a process of its own, on a free loopback
port, with a SQLite ledger; every caller has its own credential and talks gRPC.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import chain
from chain.cli import source
from chain.client import Client
from chain.errors import UnreachableError
from chain.identity import keyfile
from chain.key import KeySigner

ISSUER = "https://issuer.example"
AUTHORITY = "https://chain.example"
GATE = "https://tools.example"
"""The enforcement point in front of the tools: what proofs are made for."""

SIGNALS = "https://idp.example"
"""Whose security events the authority takes."""

STOP_SECONDS = 5
"""How long the server may take to end before it is killed."""


class Agent(NamedTuple):
    """One who holds a key.

    Attributes:
        key: its key.
        enrolled: whether the authority knows whose it is.
    """

    name: str
    enrolled: bool = True


PEOPLE = ("ann", "ben")
"""Who may approve; each is accountable to nobody who owns an agent."""


class Stage:
    """Keys, callers and a running server; a context manager.

    Attributes:
        folder: where everything lies.
        keys: name -> key.
        clients: caller's name -> its connection.
        address: of the server.
    """

    def __init__(self, folder: Path, agents: Sequence[Agent], catalogue: Mapping[str, object]) -> None:
        """Make keys, secrets and the configuration.

        Args:
            folder: empty.
            agents: who holds keys; each enrolled one is a caller too.
            catalogue: what each tool is.

        Raises:
            ConfigurationError: a file cannot be written.
        """
        self.folder = folder
        self.address = ""
        self.clients: dict[str, Client] = {}
        self._server: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None
        for name in ("keys", "secrets", "chains"):
            (folder / name).mkdir(mode=0o700)
        self.keys = {name: self._key(name) for name in ("issuer", "idp", *PEOPLE, *(agent.name for agent in agents))}
        source.write_new(folder / "catalogue.json", json.dumps(catalogue, indent=2) + "\n")
        source.write_new(folder / "chain.toml", self._configuration([a.name for a in agents if a.enrolled]))

    def __enter__(self) -> Self:
        """Start the server and connect everybody.

        Raises:
            UnreachableError: it does not start.
        """
        self._log = (self.folder / "server.log").open("wb")
        self._server = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "chain", "serve", "--config", str(self.folder / "chain.toml")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(),
        )
        try:
            self.address = self._announced(self._server)
            for file in sorted((self.folder / "secrets").iterdir()):
                client = Client(self.address, source.secret(str(file)), timeout=10)
                self.clients[file.stem] = client
                client.info()  # connects, so that no step is timed with it
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect, and stop the server as an operator would."""
        for client in self.clients.values():
            client.close()
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            if self._server.stdout is not None:
                self._server.stdout.close()
        if self._log is not None:
            self._log.close()

    def keep(self, name: str, tokens: Sequence[str]) -> None:
        """Leave a holder's chain for other commands."""
        source.write_new(self.folder / "chains" / f"{name}.chain", "\n".join(tokens) + "\n")

    def _key(self, name: str) -> KeySigner:
        private = keyfile.generate()
        keyfile.save(self.folder / "keys" / f"{name}.key", private)
        signer = private.signer()
        source.write_new(self.folder / "keys" / f"{name}.jwk", signer.key.to_json() + "\n", 0o644)
        return signer

    def _secret(self, name: str) -> str:
        """Make a caller's secret; return what the server knows of it."""
        secret = secrets.token_urlsafe(32)
        source.write_new(self.folder / "secrets" / f"{name}.secret", secret + "\n")
        return sha256(secret.encode()).hexdigest()

    def _configuration(self, agents: Sequence[str]) -> str:
        public = {name: str(self.folder / "keys" / f"{name}.jwk") for name in self.keys}
        text = _table(
            "",
            {
                "listen": "127.0.0.1:0",
                "ledger": str(self.folder / "ledger"),
                "audience": AUTHORITY,
                "issuer": ISSUER,
                "issuer_key": str(self.folder / "keys" / "issuer.key"),
                "catalogue": str(self.folder / "catalogue.json"),
            },
        )
        text += _table("anchors", {"jwk_file": public["issuer"], "iss": ISSUER})
        for name, role, more in (("alice", "issuer", {}), ("gate", "enforcement_point", {"audience": GATE})):
            text += _table("callers", {"name": name, "roles": [role], "credentials": [self._secret(name)], **more})
        text += _table(
            "callers", {"name": "operator", "roles": ["operator"], "credentials": [self._secret("operator")]}
        )
        for name in PEOPLE:
            text += _table("callers", {"name": name, "roles": ["approver"], "credentials": [self._secret(name)]})
            person = {"id": f"spiffe://demo.example/people/{name}", "kind": "human", "owner": name}
            text += _table("agents", {"jwk_file": public[name], **person})
        text += _table("signals", {"iss": SIGNALS, "jwk_file": public["idp"]})
        for name in agents:
            caller = {"name": name, "roles": ["agent"], "credentials": [self._secret(name)]}
            identity = f"spiffe://demo.example/{name}"
            text += _table("callers", {**caller, "jwk_file": public[name], "audience": identity})
            text += _table("agents", {"jwk_file": public[name], "id": identity, "owner": "travel-team"})
        return text

    def _announced(self, server: subprocess.Popen[str]) -> str:
        """Return where the server says that it answers."""
        line = server.stdout.readline() if server.stdout is not None else ""
        try:
            return str(json.loads(line)["serving"])
        except (ValueError, KeyError):
            said = (self.folder / "server.log").read_text(errors="replace").strip().splitlines()
            raise UnreachableError(f"the server did not start: {said[-1] if said else 'it said nothing'}") from None


def _table(name: str, values: Mapping[str, object]) -> str:
    """Return one table of an array in TOML, whose strings and lists of strings are JSON's."""
    head = f"\n[[{name}]]\n" if name else ""
    return head + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _environment() -> dict[str, str]:
    """Return this environment, with the package that runs now, and without settings for another server."""
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith("CHAIN_SERVE_")}
    paths = [str(Path(chain.__file__).parent.parent), own.get("PYTHONPATH", "")]
    return own | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
