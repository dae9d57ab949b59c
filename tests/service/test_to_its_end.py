"""A client that goes away frees its place only when what it began has ended: the threads behind it are few."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from pathlib import Path

import pytest

from chain.errors import ConfigurationError
from chain.service.settled import to_its_end
from chain.service.sockets import _clear, close_socket


async def test_a_cancelled_wait_ends_with_its_job() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> str:
        go.wait(10)
        ended.set()
        return "done"

    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(to_its_end(loop.run_in_executor(None, work)))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.sleep(0.05)
    assert not waiting.done()  # its place is still taken
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
    assert await to_its_end(loop.run_in_executor(None, work)) == "done"


async def test_the_error_of_a_cancelled_job_was_looked_at() -> None:
    go, unseen = threading.Event(), []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: unseen.append(context))

    def work() -> None:
        go.wait(10)
        raise ValueError("refused")

    waiting = asyncio.create_task(to_its_end(loop.run_in_executor(None, work)))
    await asyncio.sleep(0.05)
    waiting.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    del waiting
    await asyncio.sleep(0)
    assert unseen == []
    with pytest.raises(ValueError, match="refused"):  # who waits is told
        await to_its_end(loop.run_in_executor(None, work))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_caller_left_is_removed_and_what_lies_elsewhere_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "chain.sock"
    if kind == "file":
        path.write_text("mine")
    else:
        (path / "deep").mkdir(parents=True)
        close_socket(path)  # a stop is not held up by it
    with pytest.raises(ConfigurationError, match="no socket"):
        _clear(path, foreign=False)
    assert path.exists()
    _clear(path, foreign=True)
    assert not path.exists()


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    kept, path = tmp_path / "kept", tmp_path / "chain.sock"
    (kept / "inside").mkdir(parents=True)
    path.symlink_to(kept)
    _clear(path, foreign=True)
    assert not os.path.lexists(path)
    assert stat.S_ISDIR((kept / "inside").stat().st_mode)
