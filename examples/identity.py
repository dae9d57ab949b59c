"""A workload that calls by its SVID: `python examples/identity.py TARGET API CHAIN AUDIENCE`.

TARGET is the host:port of a server's `mtls_listen`, API the Workload API's `unix:PATH`, CHAIN a file with the chain
that this workload holds, and AUDIENCE the one that the server knows it by. docs/identity.md starts all of it.
"""

import asyncio
import sys
import time
from pathlib import Path

from chain.client import AsyncClient, AsyncSession, Client, Session, guard
from chain.identity.workloadapi import WorkloadSource


@guard("mail.read")
def read(folder: str) -> str:
    """Stand for a tool; it has no key and no secret."""
    return f"read {folder}"


@guard("mail.read")
async def read_too(folder: str) -> str:
    """Stand for one of asyncio."""
    return f"read {folder} too"


def main(target: str, api: str, chain: str, audience: str) -> None:
    """Call by threads and by asyncio; SVID and bundles are renewed beneath both."""
    tokens = Path(chain).read_text(encoding="utf-8").split()
    source = WorkloadSource(api, time.time)

    async def later() -> None:
        async with AsyncClient(target, identity=source) as client:
            session = AsyncSession(
                signer=None, channel=True, tokens=tokens, audience=audience, door=client, purpose="mail"
            )
            async with session:
                print(await read_too("inbox"))

    try:
        with Client(target, identity=source) as client:
            session = Session(signer=None, channel=True, tokens=tokens, audience=audience, door=client, purpose="mail")
            with session:
                print(read("inbox"))
        asyncio.run(later())
    finally:
        source.close()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
