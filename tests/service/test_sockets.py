"""Whose socket it is: a directory for each caller, and a uid where there is one."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.errors import ConfigurationError
from chain.service.safety import require_safe
from chain.service.settings import ServeSettings

from .conftest import Serve, World, ask, configuration

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
ALICE, POINT, STRANGER = 54321, 54322, 54323


@pytest.fixture
def passable() -> Iterator[Path]:
    """A directory that every user can go through to what lies beneath."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own are closed to other users
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


def opens(path: Path, uid: int) -> bool:
    """Whether a user can connect; nothing else runs meanwhile."""
    own = os.geteuid()
    os.seteuid(uid)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    except PermissionError:
        return False
    else:
        return True
    finally:
        os.seteuid(own)


def with_uids(directory: Path, **uids: int) -> list[dict]:
    callers = configuration(directory)["callers"]
    return [caller | ({"uid": uids[caller["name"]]} if caller["name"] in uids else {}) for caller in callers]


async def test_each_caller_has_a_directory_of_its_own(world: World, directory: Path) -> None:
    for name, path in world.server.sockets.items():
        assert path == directory / "sockets" / name / "chain.sock"
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.parent.parent.stat().st_mode & 0o777 == 0o700
        assert path.stat().st_mode & 0o777 == 0o600


@as_root
async def test_a_socket_opens_for_its_own_uid_and_for_no_other(serve: Serve, directory: Path, passable: Path) -> None:
    callers = with_uids(directory, alice=ALICE, point=POINT)
    for _ in range(2):  # a second start takes the directories back first
        world = await serve(callers=callers, sockets=passable / "s")
        alice, point = world.server.sockets["alice"], world.server.sockets["point"]
        assert opens(alice, ALICE)
        assert opens(point, POINT)
        for path, uid in ((alice, POINT), (point, ALICE), (alice, STRANGER), (point, STRANGER)):
            assert not opens(path, uid)
        assert (await world.stub("alice", socket=True).Check(ask([], channel=True))).decision.effect
        await world.server.stop(0)


async def test_a_caller_directory_that_others_may_enter_is_refused(serve: Serve, directory: Path) -> None:
    top = directory / "sockets"
    top.mkdir(mode=0o700)
    (top / "alice").mkdir()
    (top / "alice").chmod(0o755)
    with pytest.raises(ConfigurationError, match="0755"):
        await serve()
    (top / "alice").rmdir()
    (top / "alice").symlink_to(directory)
    with pytest.raises(ConfigurationError, match="is no directory"):
        await serve()
    (top / "alice").unlink()
    await serve()


@as_root
async def test_what_belongs_to_somebody_else_is_refused(serve: Serve, directory: Path) -> None:
    key, top = directory / "issuer.jwk", directory / "sockets"
    configuration(directory)
    top.mkdir(mode=0o700)
    (top / "alice").mkdir(mode=0o700)
    for path in (key, top, top / "alice"):
        os.chown(path, STRANGER, -1)
        with pytest.raises(ConfigurationError, match=f"somebody else: uid {STRANGER}"):
            await serve()
        os.chown(path, 0, -1)
    await serve()


def test_a_directory_that_lets_nobody_through_is_no_use_to_other_uids(directory: Path) -> None:
    callers = with_uids(directory, alice=ALICE)
    top = directory / "sockets"
    top.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="0711"):
        require_safe(ServeSettings(**configuration(directory, callers=callers)))
    top.chmod(0o711)
    require_safe(ServeSettings(**configuration(directory, callers=callers)))
    with pytest.raises(ConfigurationError, match="0711"):
        require_safe(ServeSettings(**configuration(directory)))


async def test_a_path_that_is_too_long_is_refused(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="longer than 107 bytes"):
        require_safe(ServeSettings(**configuration(directory, sockets=directory / ("d" * 100))))
    require_safe(ServeSettings(**configuration(directory, sockets=directory / "d")))
