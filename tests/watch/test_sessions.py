"""Sessions that stop: a running tool takes no step more once its chain has died, or nobody can tell."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.client import AsyncSession, Session, active, astep, step
from chain.errors import DeniedError
from chain.reason import Reason
from tests.client.banking import ALLOW, GENERIC, Answering, AsyncAnswering
from tests.support import ALICE, BOB, ISSUER
from tests.watch.relay import Relay, relaying
from tests.watch.working import Place, Work, local, served

BOTH = pytest.mark.parametrize("watch", [True, False], ids=["watched", "asked"])


@pytest.fixture(params=["local", "served"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    opened = local() if request.param == "local" else served(Path(tmp_path_factory.mktemp("p")))
    with opened as place:
        yield place


DEATHS: dict[str, tuple[Callable[[Place], None], Reason]] = {
    "revoked": (lambda place: place.revoke("bob"), Reason.REVOKED),
    "an ancestor revoked": (lambda place: place.revoke("alice"), Reason.REVOKED),
    "its holder revoked": (lambda place: place.revoke_named("holder", BOB.key.thumbprint), Reason.REVOKED),
    "its task revoked": (lambda place: place.revoke_named("task", "t1"), Reason.REVOKED),
    "a key that signed revoked": (lambda place: place.revoke_named("key", ALICE.key.thumbprint), Reason.REVOKED),
    "its issuer revoked": (lambda place: place.revoke_named("issuer", ISSUER), Reason.REVOKED),
    "holder suspended": (lambda place: place.suspend("agent", "spiffe://example.org/1"), Reason.SUSPENDED),
    "task suspended": (lambda place: place.suspend("task", "t1"), Reason.SUSPENDED),
    "everything suspended": (lambda place: place.suspend("everything"), Reason.SUSPENDED),
}


def stopped(run: Callable[[], object], reason: Reason) -> DeniedError:
    with pytest.raises(DeniedError) as raised:
        run()
    assert raised.value.reason is reason, str(raised.value.decision)
    assert str(raised.value) == GENERIC
    assert raised.value.__cause__ is None
    return raised.value


@BOTH
@pytest.mark.parametrize("death", DEATHS)
def test_a_running_tool_stops_at_its_next_step(place: Place, death: str, watch: bool) -> None:
    kill, reason = DEATHS[death]
    work = Work()
    with place.session(watch=watch):
        assert Work(3).long() == "done"
        killer = work.when_running(lambda: kill(place))
        stopped(work.long, reason)
        killer.join()
        stopped(work.long, reason)


@BOTH
@pytest.mark.parametrize("death", DEATHS)
async def test_a_running_coroutine_stops_at_its_next_step(place: Place, death: str, watch: bool) -> None:
    kill, reason = DEATHS[death]
    work, door = Work(), place.adoor()
    async with place.asession(door, watch=watch):
        assert await Work(3).along() == "done"
        killer = work.when_running(lambda: kill(place))
        for _ in range(2):
            with pytest.raises(DeniedError) as raised:
                await work.along()
            assert raised.value.reason is reason
            assert str(raised.value) == GENERIC
        await asyncio.to_thread(killer.join)
    await closed(door)


async def closed(door: Any) -> None:
    if hasattr(door, "close"):
        await door.close()


@BOTH
def test_a_chain_that_expires_stops_its_tool(place: Place, watch: bool) -> None:
    place.issue(lifetime=3)
    with place.session(watch=watch):
        assert Work(3).long() == "done"
        stopped(Work().long, Reason.EXPIRED)


def test_a_sibling_goes_on(place: Place) -> None:
    work, other = Work(), Work(60)
    with place.session("bob"):
        killer = work.when_running(lambda: place.revoke("bob"))
        stopped(work.long, Reason.REVOKED)
        killer.join()
    for name in ("carol", "alice"):
        with place.session(name):
            assert other.long() == "done"


def test_a_dead_session_refuses_the_next_call_without_asking(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    check = place.door.check
    monkeypatch.setattr(place.door, "check", lambda *given: asked.append(given) or check(*given))
    with place.session() as session:
        assert Work(1).long() == "done"
        place.suspend("everything")
        wait_until(lambda: dead(session))
        before = len(asked)
        stopped(Work(1).long, Reason.SUSPENDED)
        assert len(asked) == before == 1
        place.resume("everything")
        stopped(Work(1).long, Reason.SUSPENDED)  # what was stopped does not go on by itself
    with session:  # and may be begun anew
        assert Work(1).long() == "done"


def dead(session: Session | AsyncSession) -> bool:
    try:
        session.looked()
    except DeniedError:
        return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_session_that_is_entered_dead_is_dead_at_once(place: Place) -> None:
    place.revoke("alice")
    with place.session():
        stopped(step, Reason.REVOKED)
        stopped(Work(1).long, Reason.REVOKED)


@pytest.fixture
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Relay]]:
    with ExitStack() as stack:
        relays: list[Relay] = []

        def through(address: str) -> str:
            relays.append(stack.enter_context(relaying(address)))
            return relays[0].address

        place = stack.enter_context(served(Path(tmp_path_factory.mktemp("r")), through))
        yield place, relays[0]


@BOTH
def test_a_lost_server_stops_the_tool(relayed: tuple[Place, Relay], watch: bool) -> None:
    place, relay = relayed
    work = Work()
    with place.session(watch=watch) as session:
        cutter = work.when_running(lambda: relay.cut(for_good=True))
        stopped(work.long, Reason.WATCH_LOST)
        cutter.join()
        if watch:
            stopped(work.long, Reason.WATCH_LOST)  # before anybody is asked
        relay.mend()
        wait_until(lambda: not refuses(session.step))
        assert Work(2).long() == "done"  # it was never said to be dead, and now somebody can tell


def refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except DeniedError as error:
        return error.reason is Reason.WATCH_LOST
    return False


def test_a_silent_server_stops_the_tool(relayed: tuple[Place, Relay]) -> None:
    place, relay = relayed
    work = Work()
    with place.session():
        muter = work.when_running(relay.silence)
        stopped(work.long, Reason.WATCH_LOST)
        muter.join()


@BOTH
async def test_a_lost_server_stops_the_coroutine(relayed: tuple[Place, Relay], watch: bool) -> None:
    place, relay = relayed
    work = Work()
    async with place.adoor() as door, place.asession(door, watch=watch) as session:
        cutter = work.when_running(lambda: relay.cut(for_good=True))
        with pytest.raises(DeniedError) as raised:
            await work.along()
        assert raised.value.reason is Reason.WATCH_LOST
        await asyncio.to_thread(cutter.join)
        relay.mend()
        async with asyncio.timeout(20):
            while dead(session):  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.01)


def test_what_happened_while_nobody_could_tell_is_found_out(relayed: tuple[Place, Relay]) -> None:
    place, relay = relayed
    with place.session() as session:
        step()
        relay.cut(for_good=True)
        wait_until(lambda: dead(session))
        place.revoke("alice")
        relay.mend()
        wait_until(lambda: session._post.looking is not None and session._post.looking.stand().reason is Reason.REVOKED)
        stopped(step, Reason.REVOKED)


def ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name in ("chain-lookout", "chain-watch")}


def test_no_thread_outlives_its_session(place: Place) -> None:
    session = place.session()
    for _ in range(3):
        with session, session, place.session("carol"):
            assert Work(2).long() == "done"
            assert len(ours()) == (0 if place.door.__class__.__name__ == "Local" else 4)
        assert ours() == set()
    with pytest.raises(ZeroDivisionError), session:
        1 / 0  # noqa: B018
    place.revoke("bob")
    with session:
        stopped(step, Reason.REVOKED)
    assert ours() == set()


async def test_no_task_outlives_its_session(place: Place) -> None:
    before, door = asyncio.all_tasks(), place.adoor()
    session = place.asession(door)
    for _ in range(3):
        async with session, session:
            assert await Work(2).along() == "done"
        await asyncio.sleep(0.05)
        assert [task for task in asyncio.all_tasks() - before if "_follow" in repr(task)] == []
    await closed(door)
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() - before == set()


def test_threads_share_what_follows_their_session(place: Place) -> None:
    session, inside, out = place.session(), threading.Barrier(5), threading.Event()
    done: list[str] = []

    def work() -> None:
        with session:
            inside.wait(20)
            done.append(Work(2).long())
            out.wait(20)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait(20)
    wait_until(lambda: len(done) == 4)
    assert len(ours()) in (0, 2)
    out.set()
    for thread in threads:
        thread.join()
    assert done == ["done"] * 4
    assert ours() == set()


async def test_a_watched_asynchronous_session_serves_both_kinds_of_step(place: Place) -> None:
    door = place.adoor()
    async with place.asession(door):
        step()
        await astep()
    async with place.asession(door, watch=False):
        await astep()
        stopped(step, Reason.SESSION_MISSING)
    await closed(door)


@BOTH
async def test_a_synchronous_session_serves_coroutines(place: Place, watch: bool) -> None:
    with place.session(watch=watch):
        assert await Work(3).along() == "done"
        place.revoke("bob")
        with pytest.raises(DeniedError):
            await Work().along()


async def test_without_a_session_no_step_is_taken(place: Place) -> None:
    assert active() is None
    stopped(step, Reason.SESSION_MISSING)
    with pytest.raises(DeniedError) as raised:
        await astep()
    assert raised.value.reason is Reason.SESSION_MISSING


def test_a_tool_whose_session_ended_takes_no_step(place: Place) -> None:
    with place.session():
        step()
        inside = contextvars.copy_context()
        inside.run(step)
    stopped(lambda: inside.run(step), Reason.SESSION_MISSING)


async def test_a_door_that_cannot_tell_lets_no_step_be_taken(place: Place) -> None:
    with place.session(door=Answering(ALLOW), watch=False):
        stopped(step, Reason.WATCH_LOST)
    with pytest.raises(AttributeError), place.session(door=Answering(ALLOW)):
        pass
    assert active() is None
    async with place.asession(AsyncAnswering(ALLOW), watch=False):
        with pytest.raises(DeniedError):
            await astep()
    with pytest.raises(AttributeError):
        await place.asession(AsyncAnswering(ALLOW)).__aenter__()
    assert active() is None


async def test_a_chain_that_is_none_does_not_stand_for_asyncio(place: Place) -> None:
    broken = [*place.tokens["alice"], place.tokens["carol"][-1][:-8] + "AAAAAAAA"]
    door = place.adoor()
    lookout = await door.lookout(broken, 0.1)
    assert (lookout.stand().stands, lookout.stand().reason) == (False, Reason.SIGNATURE_INVALID)
    await lookout.close()
    lookout = await door.lookout(place.tokens["carol"], 0.1)
    assert lookout.stand().stands
    await lookout.close()
    await closed(door)


def test_a_chain_that_is_none_lets_no_step_be_taken(place: Place) -> None:
    broken = [*place.tokens["alice"], place.tokens["carol"][-1][:-8] + "AAAAAAAA"]
    with place.session("carol") as session:
        step()
        post = place.door.lookout(broken, 0.1)
        assert (post.stand().stands, post.stand().reason) == (False, Reason.SIGNATURE_INVALID)
        post.close()
        step()
    assert not session._open


def test_whoever_may_not_watch_may_not_go_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(Path(tmp_path_factory.mktemp("n"))) as place:
        place.door._lines.place = replace(place.door._lines.place, credential=lambda: "x" * 40)
        with place.session():
            stopped(step, Reason.UNAUTHENTICATED)
