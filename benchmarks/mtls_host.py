"""The server that benchmarks.mtls measures: one authority behind three doors, in a process of its own.

The law of this file: the doors differ in their transport and in what shows the caller, and in nothing else. Each
is the real server over the same authority, ledger, process and loop. Started by benchmarks.mtls with a folder that
holds the server's SVID and the trust bundle; prints one line of JSON when all answer, and stops on SIGTERM.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.service_host import AUTHORITY, ISSUER, PEP, TOOLS
from chain.identity import keyfile
from chain.identity.devca import DevAuthority
from chain.identity.files import FileSource
from chain.identity.material import TrustBundle
from chain.identity.own import from_der
from chain.identity.tls import Channels
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.sqlite import SqliteStore

DOMAIN = "bench.example"
GATEWAYS, ALICE = f"spiffe://{DOMAIN}/gateways/*", f"spiffe://{DOMAIN}/agents/alice"
ISSUER_ID = f"spiffe://{DOMAIN}/issuer"
SECRET = "the-secret-of-a-benchmark-is-none-at-all"


@contextmanager
def server(authority: DevAuthority) -> Iterator[dict[str, str]]:
    """Run the server; gives the address of each door.

    Args:
        authority: signs the server's SVID, and is the only one whose SVIDs it takes.
    """
    with tempfile.TemporaryDirectory(prefix="chain-bench-") as name:
        folder = Path(name)
        leaf = authority.leaf(f"spiffe://{DOMAIN}/chain", ["localhost"])
        svid = from_der(leaf.certificate, leaf.key)
        (folder / "svid.pem").write_bytes(svid.chain)
        (folder / "bundle.pem").write_bytes(TrustBundle(DOMAIN, authority.authorities).pem)
        (folder / "svid.key").touch(mode=0o600)
        (folder / "svid.key").write_bytes(svid.key)
        command = [sys.executable, "-m", "benchmarks.mtls_host", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield json.loads(process.stdout.readline())
            finally:
                process.terminate()


def settings(folder: Path, jwk: object, **door: object) -> ServeSettings:
    """An enforcement point, known at this door by its secret, or with the issuer by SVIDs."""
    catalogue = folder / "catalogue.json"
    catalogue.write_text(json.dumps(TOOLS), encoding="utf-8")
    point = {"name": "gateway", "roles": ["enforcement_point"], "audience": PEP, "vouches": [ALICE]}
    if "mtls_listen" in door:
        callers = [
            point | {"spiffe": GATEWAYS},
            {"name": "alice", "roles": ["agent"], "audience": PEP, "spiffe": ALICE},
            {"name": "issuer", "roles": ["issuer"], "spiffe": ISSUER_ID},
        ]
    else:
        callers = [point | {"credentials": [hashlib.sha256(SECRET.encode()).hexdigest()]}]
    return ServeSettings.model_validate(
        {
            "ledger": folder / "ledger",
            "audience": AUTHORITY,
            "issuer": ISSUER,
            "issuer_key": folder / "issuer.jwk",
            "anchors": [{"jwk": jwk, "iss": ISSUER}],
            "catalogue": catalogue,
            "roots_must_name": [],
            "log_level": "warning",
            "callers": callers,
            **door,
        }
    )


async def serve(folder: Path) -> None:
    """Serve until told to stop."""
    keyfile.save(folder / "issuer.jwk", keyfile.generate())
    issuer = keyfile.load(folder / "issuer.jwk")
    jwk = json.loads(issuer.key.to_json())
    source = FileSource(folder / "svid.pem", folder / "svid.key", {DOMAIN: folder / "bundle.pem"}, time.time)
    pair = {"tls_cert": folder / "svid.pem", "tls_key": folder / "svid.key"}
    doors = {
        "plain": settings(folder, jwk, listen="127.0.0.1:0"),
        "tls": settings(folder, jwk, listen="127.0.0.1:0", **pair),
        "mtls": settings(folder, jwk, listen="", mtls_listen="127.0.0.1:0", identity={}),
    }
    authority = compose(doors["mtls"], SqliteStore(folder / "ledger"), signer=issuer)
    servers = {
        name: ChainServer(authority, told, workloads=Channels(source, time.time) if name == "mtls" else None)
        for name, told in doors.items()
    }
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    for one in servers.values():
        await one.start()
    print(json.dumps({name: one.address or one.mtls_address for name, one in servers.items()}), flush=True)
    await ending.wait()
    for one in servers.values():
        await one.stop(0)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1])))
