"""The process that answers: its frames, its faults, and its ends."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from chain import ledger
from chain.errors import InvalidRequestError, NotFoundError, ResourceExhaustedError, StoreError, UnreachableError
from chain.graph import worker
from chain.graph.answers import Answers
from chain.graph.worker import QUESTION, RECORD, Question, Reply, frame, unframed
from chain.inquiry import ExportGraph, Lineage, Page, WhoCan
from chain.ledger import Record
from chain.reason import Reason
from chain.service import projector
from chain.service.projector import Projector
from chain.watch import Line
from chain.watching import Watching
from tests.book import Book

NOW = 2_000.0
MEMORY, ROOM = 1 << 30, 1 << 22
ASKED, FIRST = WhoCan("bank.pay"), Page()


def record(entry: Any) -> bytes:
    return frame(RECORD + ledger.encode(Record(entry.revision, entry.kind, entry.time, dict(entry.body))))


def question(asked: Any = ASKED, page: Page = FIRST, room: int = ROOM) -> bytes:
    return frame(QUESTION + msgspec.json.encode(Question(asked, page, NOW, room)))


def replies(data: bytes) -> list[Reply]:
    sink, found = io.BytesIO(), []
    worker.serve(io.BytesIO(data), sink, 1 << 40)
    sink.seek(0)
    while (told := unframed(sink)) is not None:
        found.append(msgspec.json.decode(told, type=Reply))
    return found


def test_records_go_in_and_answers_come_out(book: Book) -> None:
    data = b"".join(map(record, book.entries))
    first, fault, last = replies(data + question() + question(Lineage("nobody")) + question())
    assert first.answer == last.answer == Answers(book.entries).ask(ASKED, now=NOW)
    assert fault.fault is not None
    assert (fault.fault.reason, fault.answer) == (Reason.NOT_FOUND, None)


@pytest.mark.parametrize("room", [0, 1, 500, 700, ROOM])
def test_an_answer_is_as_long_as_may_be_read_and_nothing_is_lost(book: Book, room: int) -> None:
    data, found, page = b"".join(map(record, book.entries)), [], FIRST
    whole = Answers(book.entries).ask(ASKED, now=NOW)
    while True:
        (reply,) = replies(data + question(page=page, room=room))
        assert reply.answer is not None
        rows = reply.answer.rows
        assert len(rows) == 1 or sum(len(msgspec.json.encode(row)) for row in rows) <= room
        found += rows
        if not reply.answer.next:
            break
        page = Page(token=reply.answer.next)
    assert found == whole.rows
    assert (len(rows) == len(whole.rows)) is (room == ROOM)


def test_a_drawing_that_nobody_can_be_sent_is_not_handed_out(book: Book) -> None:
    data = b"".join(map(record, book.entries))
    small, large = replies(data + question(ExportGraph(), room=1_000) + question(ExportGraph()))
    assert small.fault is not None
    assert (small.fault.reason, "draw less" in small.fault.detail) == (Reason.REQUEST_INVALID, True)
    assert large.answer is not None
    assert len(large.answer.rows) == 1


def test_beyond_its_memory_it_says_so_and_ends(book: Book) -> None:
    sink = io.BytesIO()
    with pytest.raises(MemoryError):
        worker.serve(io.BytesIO(record(book.entries[0]) + question()), sink, 1)
    (fault,) = sink.getvalue().split(b"\0\0\0")[1:]
    assert b"graph_memory" in fault


@pytest.mark.parametrize("length", range(5))
def test_what_is_cut_off_is_the_end(book: Book, length: int) -> None:
    data = b"".join(map(record, book.entries)) + question()
    assert len(replies(data + question()[:length])) == 1


def test_an_error_of_ours_is_told_and_the_next_question_is_answered(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, real = iter([True, False]), Answers.ask

    def breaks(*args: Any, **more: Any) -> Any:
        if next(asked):
            raise KeyError("of ours")
        return real(*args, **more)

    monkeypatch.setattr(Answers, "ask", breaks)
    fault, good = replies(b"".join(map(record, book.entries)) + question() * 2)
    assert fault.fault is not None
    assert fault.fault.reason == Reason.INTERNAL
    assert "KeyError: 'of ours'" in fault.fault.detail
    assert good.answer is not None


class Watched:
    """What a projector reads: the records of a book, as an authority's ledger gives them."""

    def __init__(self, book: Book) -> None:
        self.book = book

    @property
    def synced(self) -> int:
        return len(self.book.entries)

    def lines(self, after: int, limit: int) -> tuple[list[Line], int]:
        found = self.book.entries[after : after + limit]
        lines = [Line(one.revision, one.kind, one.time, msgspec.Raw(msgspec.json.encode(one.body))) for one in found]
        return lines, after + len(found)


@pytest.fixture
def projected(book: Book) -> Iterator[Projector]:
    made = Projector(cast("Watching", Watched(book)), MEMORY, ROOM)
    yield made
    made.close()
    made.end()


def process(of: Projector) -> subprocess.Popen[bytes]:
    found = of._process
    assert found is not None
    return found


def test_it_answers_and_goes_on(book: Book, projected: Projector) -> None:
    assert projected.ask(ASKED, FIRST, NOW) == Answers(book.entries).ask(ASKED, now=NOW)
    first = process(projected)
    book.write("revoked", kind="holder", name="k-bob", cause="")
    assert projected.ask(ASKED, FIRST, NOW).total == 3
    assert process(projected) is first
    with pytest.raises(NotFoundError):
        projected.ask(Lineage("nobody"), FIRST, NOW)
    with pytest.raises(InvalidRequestError):
        projected.ask(WhoCan(), FIRST, NOW)
    assert projected.ask(ASKED, FIRST, NOW).total == 3


def test_killed_between_two_questions_it_is_started_anew(book: Book, projected: Projector) -> None:
    assert projected.ask(ASKED, FIRST, NOW).total == 5
    first = process(projected)
    first.kill()
    first.wait()
    assert projected.ask(ASKED, FIRST, NOW).total == 5
    assert process(projected) is not first


def test_asked_of_a_dead_one_that_is_an_error_and_the_next_is_answered(
    projected: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert projected.ask(ASKED, FIRST, NOW).total == 5
    dead = process(projected)
    dead.kill()
    dead.wait()
    monkeypatch.setattr(dead, "poll", lambda: None)  # it dies after it was looked after
    with pytest.raises(ResourceExhaustedError, match="in the midst"):
        projected.ask(ASKED, FIRST, NOW)
    assert projected.ask(ASKED, FIRST, NOW).total == 5


def test_an_answer_that_takes_too_long_ends(projected: Projector, monkeypatch: pytest.MonkeyPatch) -> None:
    assert projected.ask(ASKED, FIRST, NOW).total == 5
    process(projected).send_signal(signal.SIGSTOP)
    monkeypatch.setattr(projector, "PATIENCE", 0.2)
    with pytest.raises(ResourceExhaustedError, match="more than"):
        projected.ask(ASKED, FIRST, NOW)
    monkeypatch.undo()
    assert projected.ask(ASKED, FIRST, NOW).total == 5


@pytest.mark.parametrize("kind", [OSError, StoreError])
def test_a_ledger_that_cannot_be_read_is_said_so_at_once(
    book: Book, projected: Projector, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    assert projected.ask(ASKED, FIRST, NOW).total == 5
    first, real = process(projected), Watched.lines
    book.write("revoked", kind="holder", name="k-bob", cause="")

    def refuses(*_args: Any) -> Any:
        raise kind("the disk")

    monkeypatch.setattr(Watched, "lines", refuses)
    with pytest.raises(kind, match="the disk"):
        projected.ask(ASKED, FIRST, NOW)
    monkeypatch.setattr(Watched, "lines", real)
    assert projected.ask(ASKED, FIRST, NOW).total == 3
    assert process(projected) is first


def test_no_process_can_be_started_is_said_so(projected: Projector, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_args: Any, **_more: Any) -> Any:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuses)
    with pytest.raises(ResourceExhaustedError, match="no process"):
        projected.ask(ASKED, FIRST, NOW)
    monkeypatch.undo()
    assert projected.ask(ASKED, FIRST, NOW).total == 5


def test_closed_twice_it_is_closed(projected: Projector) -> None:
    assert projected.ask(ASKED, FIRST, NOW).total == 5
    ended = process(projected)
    for _ in range(2):
        projected.close()
        projected.end()
    assert ended.returncode == -signal.SIGKILL


def test_a_record_that_takes_long_to_read_is_read_on_by_the_next_question(
    book: Book, projected: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector, "READING", -1.0)  # each question finds that its time is over
    with pytest.raises(UnreachableError, match="ask again"):
        projected.ask(ASKED, FIRST, NOW)
    first = process(projected)
    monkeypatch.setattr(projector, "PART", 4)
    times = iter(range(1_000))
    monkeypatch.setattr(projector, "monotonic", lambda: next(times) * 1.0)
    monkeypatch.setattr(projector, "READING", 1.5)  # each question hands over a part
    questions = 0
    while True:
        questions += 1
        try:
            found = projected.ask(ASKED, FIRST, NOW)
        except UnreachableError:
            continue
        break
    assert found == Answers(book.entries).ask(ASKED, now=NOW)
    assert 1 < questions <= len(book.entries) // 4 + 1
    assert process(projected) is first


def test_a_server_that_stops_waits_for_no_answer(projected: Projector) -> None:
    assert projected.ask(ASKED, FIRST, NOW).total == 5
    stuck = process(projected)
    stuck.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(projected.ask, ASKED, FIRST, NOW)
        projected.close()
        with pytest.raises(UnreachableError):
            waiting.result(20)
    projected.end()
    assert stuck.returncode == -signal.SIGKILL
    with pytest.raises(UnreachableError):
        projected.ask(ASKED, FIRST, NOW)


def test_a_record_beyond_its_memory_is_said_so_and_harms_nobody_else(book: Book) -> None:
    book.write("decided", id="d", effect="DENY", tool="t", reason="r", arguments="", caller="c")
    large = book.entries.pop()
    book.entries += [
        large._replace(revision=number, body={**large.body, "more": "x" * 60_000}) for number in range(4_000)
    ]
    small = Projector(cast("Watching", Watched(book)), 100 << 20, ROOM)
    try:
        with pytest.raises(ResourceExhaustedError, match=r"^the record is more than the memory"):
            small.ask(ASKED, FIRST, NOW)
        del book.entries[20:]
        assert small.ask(ASKED, FIRST, NOW).total == 5
    finally:
        small.close()
        small.end()


def test_it_is_ended_when_nobody_asks(projected: Projector, monkeypatch: pytest.MonkeyPatch) -> None:
    projected.rest()
    assert projected.ask(ASKED, FIRST, NOW).total == 5
    projected.rest()
    first = process(projected)
    assert first.poll() is None
    monkeypatch.setattr(projector, "IDLE", 0.0)
    projected.rest()
    assert first.returncode == -signal.SIGKILL
    assert projected.ask(ASKED, FIRST, NOW).total == 5


def test_it_binds_its_own_hands(projected: Projector) -> None:
    projected.ask(ASKED, FIRST, NOW)
    here = Path(f"/proc/{process(projected).pid}")
    limits = next(line for line in (here / "limits").read_text().splitlines() if line.startswith("Max address space"))
    assert limits.split()[3:5] == [str(2 * MEMORY)] * 2
    assert os.getpriority(os.PRIO_PROCESS, process(projected).pid) >= 10
    kept = {str(name.readlink()) for name in (here / "fd").iterdir() if name.name not in "012"}
    assert not kept, "no file of the server, its ledger's least of all"


def test_it_sees_nothing_of_the_servers_environment(projected: Projector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    projected.ask(ASKED, FIRST, NOW)
    seen = Path(f"/proc/{process(projected).pid}/environ").read_bytes().split(b"\0")
    assert b"LANG=C.UTF-8" in seen
    assert {one.partition(b"=")[0].decode() for one in seen if one} <= {"PYTHONPATH", *projector.INHERITED}


def test_it_ends_with_whoever_started_it(book: Book) -> None:
    """Killed outright, the server cannot end it; then nobody writes to it any more."""
    script = """if True:
        import subprocess, sys
        command = [sys.executable, "-P", "-m", "chain.graph.worker", str(1 << 30)]
        print(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE).pid, flush=True)
        sys.stdin.read()
    """
    starter = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    with starter:
        child = int(starter.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        starter.kill()
    deadline = time.monotonic() + 20
    while (state := _state(child)) not in ("", "Z") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert state in ("", "Z")


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
