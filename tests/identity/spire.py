"""A real SPIRE, one server and one agent, for one test: memory keys, a join token, workloads known by their uid."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MISSING = [name for name in ("spire-server", "spire-agent") if shutil.which(name) is None]
needed = pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)} (.ci/run builds them)")

SERVER = """
server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "spire.test"
  data_dir = "{folder}/server"
  log_level = "WARN"
  ca_ttl = "24h"
  ca_key_type = "{keys}"
}}
plugins {{
  {upstream}
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3", connection_string = "{folder}/server.sqlite3" }} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"""

UPSTREAM = """
  UpstreamAuthority "disk" {{ plugin_data {{
    cert_file_path = "{folder}/root.pem", key_file_path = "{folder}/root.key"
  }} }}
"""

AGENT = """
agent {{
  data_dir = "{folder}/agent"
  log_level = "WARN"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/agent.sock"
  trust_domain = "spire.test"
  insecure_bootstrap = true
  join_token = "{token}"
  workload_x509_svid_key_type = "{keys}"
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"""


@dataclass
class Spire:
    """A SPIRE that runs.

    Attributes:
        folder: its files and sockets.
        node: SPIFFE id of its agent, the parent of its workloads.
    """

    folder: Path
    node: str

    @property
    def address(self) -> str:
        return f"unix:{self.folder / 'agent.sock'}"

    def enrol(self, name: str, *extra: str, uid: int | None = None, ttl: int) -> None:
        """Give every process of a uid an identity."""
        uid = os.getuid() if uid is None else uid
        self.server(
            "entry", "create", "-parentID", self.node, "-spiffeID", name, "-selector", f"unix:uid:{uid}",
            "-x509SVIDTTL", str(ttl), *extra,
        )  # fmt: skip

    def server(self, *arguments: str) -> str:
        """Ask its server."""
        return _server(self.folder, *arguments)


@contextmanager
def running(folder: Path, *, keys: str = "ec-p256", upstream: bool = False) -> Iterator[Spire]:
    """Start a server and an agent, and end both.

    Args:
        folder: for their files.
        keys: of which kind those of authorities and workloads are; an agent knows only two of the server's kinds.
        upstream: whether the server's authority is signed by one above it, `root.pem` and `root.key` in the folder.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    above = UPSTREAM.format(folder=folder) if upstream else ""
    with _started("spire-server", folder, SERVER.format(folder=folder, port=port, keys=keys, upstream=above)):
        _until(lambda: "is healthy" in _server(folder, "healthcheck"), folder / "spire-server.log")
        token = _server(folder, "token", "generate").split("Token: ")[1].split()[0]
        with _started("spire-agent", folder, AGENT.format(folder=folder, port=port, token=token, keys=keys)):
            _until((folder / "agent.sock").exists, folder / "spire-agent.log")
            yield Spire(folder, f"spiffe://spire.test/spire/agent/join_token/{token}")


def _server(folder: Path, *arguments: str) -> str:
    words = [word for word in arguments if not word.startswith("-")][: 1 if arguments[0] == "healthcheck" else 2]
    rest = arguments[len(words) :]
    line = ["spire-server", *words, "-socketPath", str(folder / "server.sock"), *rest]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=30)
    if ended.returncode and words != ["healthcheck"]:
        raise AssertionError(ended.stdout + ended.stderr)
    return ended.stdout


@contextmanager
def _started(program: str, folder: Path, configuration: str) -> Iterator[None]:
    file = folder / f"{program}.conf"
    file.write_text(configuration)
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen([program, "run", "-config", str(file)], stdout=log, stderr=log, cwd=folder)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until(holds: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, log.read_text(errors="replace")[-2000:]
        time.sleep(0.1)
