"""The server that benchmarks.service measures: the real one, in a process of its own, on a SQLite ledger.

Beside it, in the same process and loop and with the same kind of socket, answers a gRPC server whose one method takes
and gives nothing: what any unary call costs here. Started by benchmarks.service with a folder; prints one line of
JSON when it answers, and stops on SIGTERM.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from chain.identity import keyfile
from chain.key import KeySigner
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.state import MAX_LIFETIME
from chain.store.sqlite import SqliteStore

EMPTY = "/benchmarks.Empty/Call"
AUTHORITY = "https://chain.example"
ISSUER = "https://issuer.example"
PEP = "https://pep.example"
TOOLS = {"mail.read": "read", "mail.send": "act"}


@contextmanager
def server(agent: str, catalogue: str | None = None) -> Iterator[dict[str, Any]]:
    """Run the server in a process of its own; gives its pid and the path of each caller's socket.

    Args:
        agent: JWK of the key that the caller `agent` holds.
        catalogue: JSON; None takes `TOOLS`.
    """
    with tempfile.TemporaryDirectory(prefix="chain-bench-") as folder:
        if catalogue is not None:
            (Path(folder) / "catalogue.json").write_text(catalogue, encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.service_host", folder, agent]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield json.loads(process.stdout.readline())
            finally:
                process.terminate()


async def nothing(_message: bytes, _context: object) -> bytes:
    """Answer an empty message with one."""
    return b""


async def empty_server(path: Path) -> grpc.aio.Server:
    """Serve `EMPTY` on a socket."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(nothing)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("benchmarks.Empty", {"Call": handler}),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    return server


def settings(folder: Path, issuer: KeySigner, agent: str) -> ServeSettings:
    """An issuer (operator too), an agent and an enforcement point, each with a socket of its own.

    The catalogue is `catalogue.json` in the folder, or `TOOLS` where there is none.
    """
    jwk = json.loads(issuer.key.to_json())
    catalogue = folder / "catalogue.json"
    if not catalogue.exists():
        catalogue.write_text(json.dumps(TOOLS), encoding="utf-8")
    held = json.loads(agent)
    return ServeSettings.model_validate(
        {
            "listen": "",
            "sockets": folder / "sockets",
            "ledger": folder / "ledger",
            "audience": AUTHORITY,
            "issuer": ISSUER,
            "issuer_key": folder / "issuer.jwk",
            "anchors": [{"jwk": jwk, "iss": ISSUER}],
            "catalogue": catalogue,
            "roots_must_name": [],
            "lifetimes": dict.fromkeys(("low", "moderate", "high", "critical"), MAX_LIFETIME),
            "log_level": "warning",
            "callers": [
                {"name": "issuer", "roles": ["issuer", "operator"], "socket": True},
                {"name": "pep", "roles": ["enforcement_point"], "audience": PEP, "socket": True},
                {"name": "agent", "roles": ["agent"], "audience": PEP, "jwk": held, "socket": True},
            ],
            "agents": [{"jwk": held, "id": "spiffe://bench.example/agent", "owner": "bench"}],
        }
    )


async def serve(folder: Path, agent: str) -> None:
    """Serve until told to stop."""
    keyfile.save(folder / "issuer.jwk", keyfile.generate())
    issuer = keyfile.load(folder / "issuer.jwk")
    told = settings(folder, issuer, agent)
    authority = compose(told, SqliteStore(folder / "ledger"), signer=issuer)
    beside = await empty_server(folder / "empty.sock")

    def ready(server: ChainServer) -> None:
        paths = {name: str(path) for name, path in server.sockets.items()}
        print(json.dumps({"pid": os.getpid(), "empty": str(folder / "empty.sock"), **paths}), flush=True)

    await ChainServer(authority, told).run(ready)
    await beside.stop(0)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1]), sys.argv[2]))
