"""A server in a process of its own, to be killed: `python victim.py SETTINGS.json LEDGER`. Prints its address."""

import asyncio
import json
import sys
from pathlib import Path

from chain.key import KeySigner
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.sqlite import SqliteStore


def main(settings_file: str, ledger: str, seed: str) -> None:
    settings = ServeSettings(**json.loads(Path(settings_file).read_text(encoding="utf-8")))
    signer = KeySigner.from_seed(bytes.fromhex(seed))
    server = ChainServer(compose(settings, SqliteStore(ledger), signer=signer), settings)

    def ready(started: ChainServer) -> None:
        print(started.address, flush=True)  # noqa: T201  # what the test waits for

    asyncio.run(server.run(ready))


if __name__ == "__main__":
    main(*sys.argv[1:])
