"""A ledger that fails under a server that runs: real files, a real process, a limit of the real kernel."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import grpc

from chain.identity import keyfile
from chain.wire import convert

from .conftest import ISSUER, World, ask, configuration


class Running:
    """Where a server in another process answers; stands for `ChainServer` in a `World`."""

    def __init__(self, told: dict) -> None:
        self.address: str = told["serving"]
        self.sockets = {name: Path(path) for name, path in told["sockets"].items()}


async def run(directory: Path) -> tuple[asyncio.subprocess.Process, World]:
    key = directory / "own.jwk"
    if not key.exists():
        keyfile.save(key, keyfile.generate())
    anchors = [{"jwk": json.loads(keyfile.load(key).key.to_json()), "iss": ISSUER}]
    settings = configuration(directory, ledger=directory / "ledger", issuer_key=key, anchors=anchors)
    flags: list[str] = []
    for name, value in settings.items():
        text = json.dumps(value) if isinstance(value, list) else str(value)
        flags += [f"--{name.replace('_', '-')}", text]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chain", "serve", *flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, (await process.communicate())[1].decode()
    return process, World(Running(json.loads(line)), None)  # type: ignore[arg-type]


async def pay(world: World, root: str) -> bool:
    """Whether an act is allowed; what is not answered is not."""
    question = ask(
        [root], "bank.pay", arguments={"amount": 1}, proof=world.proof("alice", root, "bank.pay", {"amount": 1})
    )
    try:
        reply = await world.stub("point").Check(question)
    except grpc.aio.AioRpcError:
        return False
    return convert.decision_from(reply.decision).allowed


async def test_a_server_whose_ledger_failed_ends_with_3_and_one_that_is_told_to_ends_with_0(directory: Path) -> None:
    process, world = await run(directory)
    root = await world.root()
    assert await pay(world, root)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1024, 1024))  # from now on every write to a file fails
    assert not await pay(world, root)
    _, log = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 3
    events = [json.loads(line) for line in log.decode().splitlines() if line.startswith("{")]
    assert [line["level"] for line in events if line.get("event") == "ledger failed"] == ["error"]
    await asyncio.gather(*(channel.close() for channel in world.channels))
    process, world = await run(directory)
    assert await pay(world, root)
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    await asyncio.gather(*(channel.close() for channel in world.channels))
