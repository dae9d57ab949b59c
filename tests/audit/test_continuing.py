"""A ledger and what was signed for it before: stopped in between, restored, forked, or under a key that was lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

import pytest

from chain import intact
from chain.auditing import Auditing
from chain.checkpoint import ACCEPTED, Checkpoint
from chain.cli.notary import CopyFile
from chain.client import Client
from chain.errors import ChainError, StoreError
from chain.key import KeySigner, PublicKey
from chain.ledger import Store, decode
from chain.notary import Notary
from chain.note import Note, NoteKey
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from tests.audit.conftest import Run
from tests.audit.exported import LOG, WITNESS, Held
from tests.audit.test_auditing import NOTARY, ORIGIN, OWNER, SEEN, auditing, grow
from tests.support import World

OTHER = KeySigner.from_seed(b"o" * 32)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "ledger", all_synced=True)
    yield opened
    opened.close()


@pytest.fixture
def world(store: Store) -> World:
    return World(store=store)


def forked(size: int, signer: KeySigner = LOG) -> Note:
    """A checkpoint of other records."""
    return Note(Checkpoint(ORIGIN, size, bytes(32)).text).sign(ORIGIN, signer)


def recorded(world: World) -> list[dict[str, str]]:
    return [decode(data).body for data, _ in world.store.records(kind=ACCEPTED)]


def name(note: Note) -> str:
    return " ".join(note.text.split("\n")[1:3])


@dataclass
class Stopping:
    """Signs, and is stopped before anybody hears of it."""

    key: PublicKey

    def sign(self, _data: bytes) -> bytes:
        raise StoreError("stopped")


@pytest.mark.parametrize("point", ["before the signature", "before it is kept", "before it is copied"])
def test_whoever_was_stopped_goes_on_with_one_line(world: World, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    copy = Held()
    notary = replace(NOTARY, copy=copy)
    told = [auditing(world, notary).sign()]
    grow(world)
    stopped = auditing(world, replace(notary, signer=Stopping(LOG.key)) if point == "before the signature" else notary)
    with monkeypatch.context() as patched:
        if point == "before it is kept":
            patched.setattr(Auditing, "_keep", lambda *_: Stopping(LOG.key).sign(b""))
        copy.full = point == "before it is copied"
        with pytest.raises(StoreError):
            stopped.sign()
    copy.full = False
    again = auditing(world, notary)
    again.start()
    assert again.due, "it is signed, or at least told, though no record came since"
    told.append(again.sign())
    assert copy.read() == told[-1]
    grow(world)
    told.append(auditing(world, notary).sign())
    kept = again.checkpoints(OWNER)
    assert [note.text for note in kept] == [note.text for note in told]
    assert intact.verify(again.export(OWNER), NOTARY.key, (), told).intact


def test_nothing_is_signed_beside_a_copy_that_somebody_else_went_on_with(world: World) -> None:
    """Two servers on two copies of one ledger, with one key: the second to sign sees that the first did."""
    copy = Held()
    audit = auditing(world, replace(NOTARY, copy=copy))
    own = audit.sign()
    grow(world)
    for other in (forked(3), forked(world.store.head + 7), forked(world.store.head, OTHER)):
        copy.note = other
        with pytest.raises(StoreError, match="`elsewhere`: "):
            audit.sign()
        assert copy.read() == other
        assert audit.checkpoints(OWNER) == [own]
    copy.note = own
    assert audit.sign() == copy.read() != own


@pytest.mark.parametrize("other", [forked(3), forked(10_000), forked(3, OTHER)])
def test_a_ledger_goes_on_beside_a_copy_only_by_its_name_and_says_so(world: World, other: Note) -> None:
    copy = Held(other)
    notary = replace(NOTARY, copy=copy)
    for names in ((), (name(forked(4)),), ("missing",)):
        with pytest.raises(StoreError, match="accept_ledger") as refused:
            auditing(world, notary).start(names)
        assert f'["{name(other)}"]' in refused.value.detail
    assert recorded(world) == []
    auditing(world, notary).start([name(other)])
    (body,) = recorded(world)
    assert (body["checkpoint"], body["note"]) == (name(other), bytes(other).decode())
    assert copy.read() == auditing(world, notary).sign(), "it is told at once, and covers that record"
    assert Checkpoint.of(copy.read() or other, NOTARY.key).size == world.store.head
    auditing(world, notary).start([name(other)])
    assert len(recorded(world)) == 1, "there is nothing to accept any more"
    copy.note = forked(5)
    with pytest.raises(StoreError, match="accept_ledger"):
        auditing(world, notary).start([name(other)])


def test_a_lost_key_is_accepted_by_name_and_everybody_sees_where_the_line_was_broken(world: World) -> None:
    old = auditing(world, Notary(ORIGIN, OTHER)).sign()
    notary = Notary(ORIGIN, LOG, copy=Held(old))
    grow(world)
    with pytest.raises(StoreError, match=r"checkpoints\.former.*accept_ledger") as refused:
        auditing(world, notary).start()
    assert f'["{name(old)}"]' in refused.value.detail
    with pytest.raises(StoreError, match=r"checkpoints\.former"):
        auditing(world, notary).sign()
    audit = auditing(world, notary)
    audit.start([name(old)])
    (body,) = recorded(world)
    assert (body["checkpoint"], body["note"], body["caller"]) == (name(old), bytes(old).decode(), "configuration")
    file = list(audit.export(OWNER))
    verdict = intact.verify(file, notary.key)
    assert (verdict.intact, [one.revision for one in verdict.accepted]) == (True, [world.store.head])
    former = NoteKey(ORIGIN, OTHER.key)
    assert intact.verify(file, notary.key, (), [old], [former]).intact, "whoever has that key bridges it"
    assert not intact.verify(file, notary.key, (), [old]).intact
    auditing(world, notary).start()
    assert len(recorded(world)) == 1
    assert intact.verify(auditing(World(), NOTARY).export(OWNER), NOTARY.key).accepted == []


def test_other_records_than_the_last_checkpoint_says_are_accepted_by_nobody(world: World) -> None:
    audit, notary = auditing(world, Notary(ORIGIN, OTHER)), Notary(ORIGIN, LOG)
    wrong = forked(world.store.head, OTHER)
    audit._keep(Notary(ORIGIN, OTHER), Checkpoint.claimed(wrong), wrong)
    with pytest.raises(StoreError, match="not those that a checkpoint was signed for"):
        auditing(world, notary).start([name(wrong)])
    grow(world)
    right = auditing(World(), Notary(ORIGIN, OTHER)).sign()
    assert name(right) != name(wrong)
    assert recorded(world) == []


def test_a_copy_that_was_there_and_is_gone_is_missed(world: World) -> None:
    copy = Held()
    notary = replace(NOTARY, copy=copy)
    auditing(world, notary).start()  # there was none yet
    auditing(world, notary).sign()
    auditing(world, notary).start()
    copy.note = None
    with pytest.raises(StoreError, match=r'is not there.*accept_ledger = \["missing"\]'):
        auditing(world, notary).start()
    auditing(world, notary).start(["missing"])
    assert [body["checkpoint"] for body in recorded(world)] == ["missing"]
    assert copy.read() is not None
    auditing(world, notary).start()


def test_a_new_key_signs_beside_the_old_ones_signature_where_nothing_came_in_between(world: World) -> None:
    auditing(world).sign()
    ((old,),) = (auditing(world).checkpoints(OWNER),)
    auditing(world).cosign(OWNER, bytes(old.cosign(SEEN.name, WITNESS, 7)))
    turned = Notary(ORIGIN, OTHER, (SEEN,), former=(NOTARY.key,))
    both = auditing(world, turned).sign()
    assert [both.signed_by(key) for key in (NOTARY.key, turned.key, SEEN)] == [0, 0, 7]
    renamed = Notary("another.example", LOG, former=(turned.key,))
    assert auditing(world, renamed).sign().signatures[0][0] == "another.example", "another log's text is another"


# As a user


@pytest.fixture
def copy(copied: Path, tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "last"
    path.parent.mkdir()
    with (copied / "chain.toml").open("a") as file:
        file.write(f'\n[checkpoints]\ncopy_to = "{path}"\n')
    return path


def test_a_server_refuses_a_ledger_that_does_not_continue_the_copy(run: Run, copied: Path, copy: Path) -> None:
    at = ("--ledger", copied)
    told = run("audit", "checkpoint", *at, "--json")
    assert copy.read_bytes() == json.loads(told.stdout)["note"].encode(), "though nothing happened since the last one"
    assert run("audit", "who", *at).exit_code == 0
    for file in (copied / "ledger").iterdir():
        if file.name != "checkpoint.key":
            file.unlink()
    for _ in range(2):
        ended = run("audit", "who", *at)
    store = SqliteStore(copied / "ledger")
    assert store.head == 0, "a ledger that is refused stays as it was"
    store.close()
    named = f'accept_ledger = ["{name(Note.parse(copy.read_bytes()))}"]'
    assert (ended.exit_code, named in ended.stderr) == (2, True)
    with (copied / "chain.toml").open("a") as file:
        file.write(f"{named}\n")
    assert run("audit", "who", *at).exit_code == 0
    key = json.loads(run("audit", "checkpoint", *at, "--json").stdout)["key"]
    ended = run("audit", "intact", "--key", key, *at)
    assert ended.exit_code == 0
    assert f"record 1: somebody went on beside an earlier checkpoint: `{copy}`: the ledger ends at" in ended.stdout
    told = json.loads(run("audit", "intact", "--key", key, *at, "--json").stdout)
    assert [one["checkpoint"] in named for one in told["accepted"]] == [True]


def test_what_lies_where_the_copy_should_is_refused_at_once(run: Run, copied: Path, copy: Path) -> None:
    at = ("--ledger", copied)
    assert run("audit", "checkpoint", *at).exit_code == 0
    whole, target = copy.read_bytes(), copy.with_name("target")
    target.write_bytes(whole)
    target.chmod(0o600)

    def huge() -> None:
        copy.touch()
        os.truncate(copy, 64 << 30)

    ways: dict[str, Callable[[], object]] = {
        "a symbolic link": lambda: copy.symlink_to(target),
        "a symbolic link; ": lambda: copy.symlink_to(copy),
        "not a regular file": lambda: os.mkfifo(copy),
        "Is a directory|not a regular file": copy.mkdir,
        "more than 65536 bytes": huge,
        "a note is text": lambda: copy.write_text("x"),
        "three lines": lambda: copy.write_bytes(bytes(Note("x\n").sign("x", LOG))),
    }
    copy.unlink()
    for said, make in ways.items():
        make()
        ended = run("audit", "checkpoint", *at)
        assert ended.exit_code == 2, said
        assert any(one in ended.stderr for one in said.split("|")), ended.stderr
        copy.rmdir() if copy.is_dir() and not copy.is_symlink() else copy.unlink()
    assert target.read_bytes() == whole
    copy.parent.rename(copy.parent.with_name("unmounted"))
    ended = run("audit", "checkpoint", *at)
    assert (ended.exit_code, "No such file or directory" in ended.stderr) == (2, True)
    copy.parent.mkdir()
    copy.write_bytes(whole)
    assert run("audit", "checkpoint", *at).exit_code == 0


def test_a_copy_that_cannot_be_read_or_written_is_told_of(tmp_path: Path) -> None:
    copy, note = CopyFile(tmp_path / "last"), forked(3)
    with pytest.raises(StoreError, match="No such file"):
        CopyFile(tmp_path / "nowhere" / "last").write(note)
    assert copy.read() is None
    copy.write(note)
    with pytest.raises(StoreError, match="Not a directory"):
        CopyFile(tmp_path / "last" / "last").read()
    assert copy.read() == note
    assert copy.name == str(tmp_path / "last")
    assert (tmp_path / "last").stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "last"]


DYING = """
import os, signal, sys
from chain.auditing import Auditing
from chain.cli import main
from chain.cli.notary import CopyFile
from chain.key import KeySigner
from chain.store.sqlite import SqliteStore

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def then_die(work):
    return lambda *given: (work(*given), die())

point = sys.argv.pop(1)
if point == "signed":
    KeySigner.sign = then_die(KeySigner.sign)
elif point == "kept":
    CopyFile.write = die
elif point == "written":
    CopyFile.write = then_die(CopyFile.write)
else:
    Auditing._tell = then_die(Auditing._tell)
main()
"""


@pytest.mark.parametrize("point", ["signed", "kept", "written", "told"])
def test_a_process_that_was_killed_leaves_one_line_of_checkpoints(
    run: Run, copied: Path, copy: Path, tmp_path: Path, point: str
) -> None:
    at = ("--ledger", str(copied))
    key = json.loads(run("audit", "checkpoint", *at, "--json").stdout)["key"]
    told = [copy.read_bytes()]
    for number in range(2):
        assert run("suspend", "tool", f"tool.{number}", "--cause", "to have a record", *at).exit_code == 0
        command = [sys.executable, "-c", DYING, point, "audit", "checkpoint", *at]
        assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == -signal.SIGKILL
        told.append(copy.read_bytes())
        again = json.loads(run("audit", "checkpoint", *at, "--json").stdout)
        assert copy.read_bytes() == again["note"].encode()
        told.append(copy.read_bytes())
    sizes: dict[str, set[str]] = {}
    for data in told:
        _, size, root, _ = Note.parse(data).text.split("\n")
        sizes.setdefault(size, set()).add(root)
    assert len(sizes) == 3
    assert all(len(roots) == 1 for roots in sizes.values())
    options = []
    for number, data in enumerate(told):
        (tmp_path / f"told{number}").write_bytes(data)
        options += ["--checkpoint", str(tmp_path / f"told{number}")]
    assert run("audit", "intact", "--key", key, *options, *at).exit_code == 0


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "chain", "serve", "--config", str(folder / "chain.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())["serving"]
        finally:
            process.kill()


def test_a_server_that_writes_is_exported_whole_and_killed_without_a_fork(
    run: Run, copied: Path, copy: Path, tmp_path: Path
) -> None:
    with (copied / "chain.toml").open("a") as file:
        file.write("every = 0.05\n")
    secret, known = copied / "secrets" / "operator.secret", list[str]()
    written = 0
    for number in range(2):
        ending = Event()
        with served(copied) as (process, address):
            as_operator = ("--server", address, "--credential-file", str(secret))

            def write(address: str = address, ending: Event = ending) -> None:
                with Client(address, credential=secret.read_text().strip()) as client:
                    try:
                        while not ending.is_set():
                            client.steering.suspend("tool", os.urandom(8).hex(), "to have a record")
                    except ChainError:
                        assert ending.is_set()

            threads = [Thread(target=write) for _ in range(4)]
            for thread in threads:
                thread.start()
            key = json.loads(run("audit", "checkpoint", *as_operator, "--json").stdout)["key"]
            for turn in range(3):
                out = tmp_path / f"{number}-{turn}.export"
                assert run("audit", "export", out, *as_operator).exit_code == 0
                ended = run("audit", "verify", out, "--key", key, *known, "--json")
                assert ended.exit_code == 0, ended.output
                assert json.loads(ended.stdout)["records"] > written
                written = json.loads(ended.stdout)["records"]
                path = tmp_path / f"{number}-{turn}"
                assert run("audit", "checkpoint", "--out", path, *as_operator).exit_code == 0
                known += ["--checkpoint", str(path)]
            ending.set()
            process.kill()
            for thread in threads:
                thread.join()
    known += ["--checkpoint", str(copy)]
    assert run("audit", "intact", "--key", key, *known, "--ledger", copied).exit_code == 0
    assert written > 200
