"""Checkpoints and proofs of a ledger: from the library, over gRPC, and of one that was changed underneath."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import apsw
import pytest
from click.testing import CliRunner

from chain import intact, merkle
from chain.auditing import Auditing
from chain.caller import Caller, Role, embedded
from chain.checkpoint import Checkpoint, InclusionProof
from chain.cli import main
from chain.client import AsyncClient, Client
from chain.errors import ForbiddenError, InvalidRequestError, NotFoundError, StoreError
from chain.key import KeySigner
from chain.ledger import Store
from chain.log import Log
from chain.notary import Notary
from chain.note import MAX_SIGNATURES, Kind, Note, NoteError, NoteKey
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from tests.audit.exported import LOG, WITNESS, Held, second_opinion
from tests.client.running import secret, serving, settings
from tests.support import CAROL, ROOT_KEY, World, honest

OWNER = embedded()
ORIGIN = "ledger.example"
SEEN = NoteKey("witness.example", WITNESS.key, Kind.COSIGNATURE)
NOTARY = Notary(ORIGIN, LOG, (SEEN,))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "ledger", all_synced=True)
    yield opened
    opened.close()


@pytest.fixture
def world(store: Store) -> World:
    return World(store=store)


def auditing(world: World, notary: Notary | None = NOTARY) -> Auditing:
    return Auditing(world.authority._desk, notary)


def grow(world: World, calls: int = 5) -> None:
    tokens = honest()
    for _ in range(calls):
        world.allowed(tokens, CAROL)


def test_a_checkpoint_covers_all_and_is_signed_once(world: World) -> None:
    audit = auditing(world)
    assert audit.due
    note = audit.checkpoint(OWNER)
    found = Checkpoint.of(note, NOTARY.key)
    leaves = [merkle.leaf_hash(data) for data, _ in world.store.records()]
    frontier = merkle.Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    assert (found.size, found.root, found.origin) == (world.store.head, frontier.root, ORIGIN)
    assert audit.checkpoint(OWNER) == note
    assert not audit.due
    grow(world)
    assert audit.due
    assert Checkpoint.of(audit.checkpoint(OWNER), NOTARY.key).size == world.store.head > found.size
    assert audit.checkpoints(OWNER)[0] == note


def test_every_record_is_proven_and_every_log_continues_those_before(world: World) -> None:
    audit = auditing(world)
    grow(world, 30)
    first = Checkpoint.of(audit.checkpoint(OWNER), NOTARY.key)
    grow(world, 9)
    for revision in range(1, world.store.head + 1):
        proven = audit.prove(OWNER, revision)
        proof = InclusionProof.parse(bytes(proven.proof))
        assert json.loads(proven.record)["revision"] == revision
        assert proof.require(proven.record, NOTARY.key)
        with pytest.raises(NoteError):
            proof.require(proven.record.replace(b":", b": ", 1), NOTARY.key)
    second = Checkpoint.of(audit.checkpoint(OWNER), NOTARY.key)
    assert second.size > first.size
    path = audit.consistency(OWNER, first.size, second.size)
    assert merkle.proves_consistency(first.size, second.size, path, first.root, second.root)
    assert not merkle.proves_consistency(first.size, second.size, path, second.root, second.root)


def test_what_is_not_there_is_not_proven(world: World) -> None:
    audit, head = auditing(world), world.store.head
    for revision in (0, head + 1):
        with pytest.raises(NotFoundError):
            audit.prove(OWNER, revision)
    log = Log(world.store.leaves)
    log.grow(head)
    for index in (-1, head):
        with pytest.raises(InvalidRequestError):
            log.inclusion(index, head)
    assert log.inclusion(head - 1, head)
    for first, second in ((0, 1), (2, 1), (1, head + 1)):
        with pytest.raises(InvalidRequestError):
            audit.consistency(OWNER, first, second)
    assert audit.consistency(OWNER, 1, head)


def test_a_witness_is_taken_and_nobody_else(world: World) -> None:
    audit = auditing(world)
    note = audit.checkpoint(OWNER)
    stranger = KeySigner.from_seed(b"s" * 32)
    seen = note.cosign(SEEN.name, WITNESS, 1_800_000_000).cosign("stranger", stranger, 1)
    whole = audit.cosign(OWNER, bytes(seen))
    assert whole.signed_by(SEEN) == 1_800_000_000
    assert [name for name, _ in whole.signatures] == [ORIGIN, SEEN.name]
    assert audit.checkpoints(OWNER) == [whole]
    again = audit.cosign(OWNER, bytes(note.cosign(SEEN.name, WITNESS, 1_800_000_001)))
    assert (len(again.signatures), again.signed_by(SEEN)) == (2, 1_800_000_001)
    grow(world)
    later = audit.checkpoint(OWNER)
    assert audit.cosign(OWNER, bytes(seen)).signed_by(SEEN), "of an older one, too"
    assert audit.checkpoint(OWNER) == later
    with pytest.raises(InvalidRequestError, match="no cosignature of a witness"):
        audit.cosign(OWNER, bytes(note.cosign("stranger", stranger, 1)))
    forged = Note(note.text, (*note.signatures, (SEEN.name, SEEN.id + bytes(72))))
    with pytest.raises(NoteError, match="does not hold"):
        audit.cosign(OWNER, bytes(forged))
    other = Note(Checkpoint(ORIGIN, 1, bytes(32)).text).sign(ORIGIN, LOG).cosign(SEEN.name, WITNESS, 1)
    with pytest.raises(NotFoundError):
        audit.cosign(OWNER, bytes(other))
    assert Checkpoint.of(audit.checkpoints(OWNER)[0], NOTARY.key, [SEEN])


def test_nobody_signs_where_there_is_no_key(world: World) -> None:
    audit = auditing(world, None)
    for ask in (audit.checkpoint, audit.export):
        with pytest.raises(InvalidRequestError, match="checkpoint_key"):
            ask(OWNER)
    assert not audit.due
    assert audit.key is None
    assert auditing(world).checkpoint(OWNER)


def test_who_may_ask(world: World) -> None:
    audit = auditing(world)
    agent, auditor = (Caller(name="x", roles=frozenset({role})) for role in (Role.AGENT, Role.AUDITOR))
    asked: list[Callable[[Caller], object]] = [
        audit.checkpoints,
        audit.export,
        lambda caller: audit.prove(caller, 1),
        lambda caller: audit.consistency(caller, 1, 1),
    ]
    assert audit.checkpoint(agent), "a head tells nothing of what is beneath it"
    for ask in asked:
        with pytest.raises(ForbiddenError):
            ask(agent)
        ask(auditor)


def test_whoever_may_not_read_the_record_makes_nobody_sign_for_it(world: World) -> None:
    agent, auditor = (Caller(name="x", roles=frozenset({role})) for role in (Role.AGENT, Role.AUDITOR))
    audit = auditing(world)
    first = audit.checkpoint(agent)
    for _ in range(5):
        grow(world, 1)
        assert audit.checkpoint(agent) == auditing(world).checkpoint(agent) == first
    assert audit.checkpoints(auditor) == [first]
    second = audit.checkpoint(auditor)
    assert second != first
    assert audit.checkpoint(agent) == second
    assert audit.checkpoints(auditor) == [first, second]


def test_an_export_is_intact_and_a_second_reader_says_so(world: World) -> None:
    audit = auditing(world)
    audit.checkpoint(OWNER)
    grow(world, 20)
    lines = list(audit.export(OWNER))
    verdict = intact.verify(lines, NOTARY.key)
    assert verdict.intact
    assert len(verdict.checkpoints) == 2
    assert second_opinion(b"".join(lines))


def test_a_restart_goes_on_with_the_log(store: Store) -> None:
    world = World(store=store)
    first = auditing(world).checkpoint(OWNER)
    again = auditing(world)
    assert again.checkpoint(OWNER) == first
    grow(world)
    assert Checkpoint.of(again.checkpoint(OWNER), NOTARY.key).size > Checkpoint.of(first, NOTARY.key).size


@pytest.mark.parametrize("cut", [False, True])
def test_a_ledger_that_was_changed_underneath_gets_no_checkpoint(tmp_path: Path, *, cut: bool) -> None:
    path = tmp_path / "ledger"
    with_ledger = SqliteStore(path, all_synced=True)
    world = World(store=with_ledger)
    grow(world)
    auditing(world).checkpoint(OWNER)
    world.authority.close()
    connection = apsw.Connection(str(path / "ledger.db"))
    for trigger in ("records_unchanged", "records_stay"):
        connection.execute(f"DROP TRIGGER {trigger}")
    if cut:
        connection.execute("DELETE FROM records WHERE revision > 7")
    else:
        connection.execute("UPDATE records SET leaf = zeroblob(32) WHERE revision = 3")
    connection.close()
    opened = SqliteStore(path, all_synced=True)
    audit = auditing(World(store=opened, enrolled=()))
    with pytest.raises(StoreError, match=r"ends at record|not those that a checkpoint"):
        audit.checkpoint(OWNER)
    opened.close()


@pytest.mark.parametrize("hole", [False, True])
def test_a_ledger_with_a_hole_is_told_of_and_nobody_waits_for_it(tmp_path: Path, *, hole: bool) -> None:
    path = tmp_path / "ledger"
    world = World(store=SqliteStore(path, all_synced=True))
    grow(world)
    world.authority.close()
    if hole:
        connection = apsw.Connection(str(path / "ledger.db"))
        connection.execute("DROP TRIGGER records_stay")
        connection.execute("DELETE FROM records WHERE revision = 2")
        connection.close()
    opened = SqliteStore(path, all_synced=True)
    audit = auditing(World(store=opened, enrolled=()))
    if hole:
        with pytest.raises(StoreError, match="lost records"):
            audit.checkpoint(OWNER)
    else:
        assert Checkpoint.of(audit.checkpoint(OWNER), NOTARY.key).size == opened.head
    opened.close()


def test_a_witness_that_repeats_itself_leaves_a_note_that_can_be_read(world: World) -> None:
    second = KeySigner.from_seed(b"2" * 32)
    other = NoteKey("second.example", second.key, Kind.COSIGNATURE)
    audit = auditing(world, Notary(ORIGIN, LOG, (SEEN, other)))
    note = audit.checkpoint(OWNER)
    for witness, by in ((SEEN, WITNESS), (other, second)):
        once = note.cosign(witness.name, by, 7)
        flood = Note(note.text, (*note.signatures, *[once.signatures[-1]] * (MAX_SIGNATURES - 1)))
        assert audit.cosign(OWNER, bytes(flood)).signed_by(witness) == 7
    (kept,) = audit.checkpoints(OWNER)
    assert [name for name, _ in kept.signatures] == [ORIGIN, SEEN.name, other.name]
    assert auditing(world, Notary(ORIGIN, LOG, (SEEN, other))).checkpoint(OWNER) == kept


def test_another_key_continues_what_a_former_one_signed_where_that_is_named(world: World) -> None:
    old = auditing(world).checkpoint(OWNER)
    key = KeySigner.from_seed(b"n" * 32)
    unnamed = auditing(world, Notary(ORIGIN, key))
    copied = auditing(world, Notary(ORIGIN, key, copy=Held(old)))
    for refuses in (unnamed.start, lambda: unnamed.checkpoint(OWNER), copied.start):
        with pytest.raises(StoreError, match=r"checkpoints\.former"):
            refuses()
    grow(world)
    auditing(world, None).start()  # who signs nothing continues nothing
    turned = Notary(ORIGIN, key, former=(NOTARY.key,))
    audit = auditing(world, turned)
    audit.start()
    auditing(world, replace(turned, copy=Held(old))).start()
    file = list(audit.export(OWNER))
    assert intact.verify(file, turned.key, (), [old], (NOTARY.key,)).intact
    assert not intact.verify(file, turned.key, (), [old]).intact, "nobody vouched for the key of that one"
    assert [note.signed_by(turned.key) for note in audit.checkpoints(OWNER)] == [0]
    assert audit.checkpoints(OWNER, world.store.head) == []
    fork = Note(Checkpoint(ORIGIN, 3, bytes(32)).text).sign(ORIGIN, LOG)
    with pytest.raises(StoreError, match="not those"):
        auditing(world, replace(turned, copy=Held(fork))).start()


def test_a_copy_that_could_not_be_written_is_written_at_the_next_occasion(world: World) -> None:
    copy = Held(full=True)
    audit = auditing(world, Notary(ORIGIN, LOG, copy=copy))
    with pytest.raises(StoreError, match="full"):
        audit.sign()
    assert audit.due, "though no record came since"
    copy.full = False
    assert copy.read() is None
    assert audit.sign() == copy.read()
    assert not audit.due
    assert auditing(world).checkpoint(OWNER) == copy.read(), "it stood meanwhile"


def test_many_at_once_sign_one_log(world: World) -> None:
    audit, notes = auditing(world), list[Note]()
    threads = [Thread(target=lambda: notes.append(audit.checkpoint(OWNER))) for _ in range(8)]
    for thread in threads:
        thread.start()
        grow(world, 1)
    for thread in threads:
        thread.join()
    assert len(notes) == 8
    heads = {Checkpoint.of(note, NOTARY.key).size: note for note in notes}
    assert {note.text for note in notes} == {note.text for note in heads.values()}
    assert intact.verify(audit.export(OWNER), NOTARY.key, (), notes).intact


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainServer]:
    told = settings(tmp_path_factory.mktemp("a"))

    def make() -> ChainServer:
        every = told.checkpoints.model_copy(update={"every": 0.2})
        changed = told.model_copy(update={"checkpoints": every})
        return ChainServer(compose(changed, MemoryStore(), signer=ROOT_KEY, notary=NOTARY), changed, log=io.StringIO())

    with serving(make) as running:
        yield running


def test_over_grpc_it_is_the_same(server: ChainServer) -> None:
    with Client(server.address, credential=secret("operator")) as client:
        note, key = client.audit.checkpoint()
        assert key == str(NOTARY.key)
        proven = client.audit.prove(2)
        assert proven.proof.require(proven.record, NOTARY.key).size == Checkpoint.of(note, NOTARY.key).size
        assert client.audit.checkpoints() == [note]
        assert client.audit.consistency(1, 2)
        assert client.audit.cosign(bytes(note.cosign(SEEN.name, WITNESS, 7))).signed_by(SEEN) == 7
        with pytest.raises(NotFoundError):
            client.audit.prove(999)
    with Client(server.address, credential=secret("agent")) as client:
        assert client.audit.checkpoint()[0].text == note.text
        with pytest.raises(ForbiddenError):
            client.audit.prove(1)


async def test_an_asynchronous_client_asks_the_same(server: ChainServer) -> None:
    async with AsyncClient(server.address, credential=secret("operator")) as client:
        note, _ = await client.audit.checkpoint()
        proven = await client.audit.prove(1)
        assert proven.proof.require(proven.record, NOTARY.key)
        assert await client.audit.checkpoints() == [note]
        assert await client.audit.consistency(2, 2) == []
        assert (await client.audit.cosign(bytes(note.cosign(SEEN.name, WITNESS, 7)))).signed_by(SEEN) == 7


async def test_a_server_signs_on_its_own_schedule(server: ChainServer) -> None:
    async with AsyncClient(server.address, credential=secret("operator")) as client:
        for _ in range(100):
            await asyncio.sleep(0.1)
            if notes := await client.audit.checkpoints():
                break
        assert Checkpoint.of(notes[-1], NOTARY.key).size == await client.revision()


def chain(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["audit", *words])
    return result.exit_code, result.stdout, result.stderr


def test_a_user_exports_verifies_and_finds_what_was_changed(kept: Path, tmp_path: Path) -> None:
    out, at = tmp_path / "ledger.export", ("--ledger", str(kept))
    code, told, _ = chain("export", str(out), *at, "--json")
    key = json.loads(told)["key"]
    assert code == 0
    assert chain("export", str(out), *at)[0] == 2, "never over another file"
    code, told, _ = chain("verify", str(out), "--key", key, "--json")
    assert (code, json.loads(told)["intact"]) == (0, True)
    assert chain("intact", "--key", key, *at)[:2] == (0, chain("verify", str(out), "--key", key)[1])
    bad = tmp_path / "bad.export"
    lines = out.read_bytes().splitlines(keepends=True)
    lines[13] = lines[13].replace(b"ALLOW", b"DENY")
    bad.write_bytes(b"".join(lines))
    code, told, _ = chain("verify", str(bad), "--key", key, "--json")
    assert (code, [flaw["first"] for flaw in json.loads(told)["flaws"] if flaw["first"]]) == (1, [13])
    other = str(NoteKey("chain.example", WITNESS.key))
    assert chain("verify", str(out), "--key", other)[0] == 1
    assert chain("who", "--export", str(out), "--key", key)[1] == chain("who", *at)[1]
    assert chain("who", "--export", str(bad), "--key", key)[0] == 3
    assert "not verified" in chain("who", "--export", str(bad))[2]


def test_a_user_proves_one_record_and_keeps_a_checkpoint(kept: Path, tmp_path: Path) -> None:
    at, proof, note = ("--ledger", str(kept)), tmp_path / "one", tmp_path / "checkpoint"
    key = json.loads(chain("checkpoint", "--out", str(note), *at, "--json")[1])["key"]
    assert chain("prove", "12", "--out", str(proof), *at)[0] == 0
    code, told, _ = chain("proven", str(proof), "--key", key)
    assert code == 0
    assert told.startswith("record 12 of ")
    record = tmp_path / "one.json"
    record.write_bytes(record.read_bytes().replace(b"1", b"2", 1))
    assert chain("proven", str(proof), "--key", key)[:2] == (2, "")
    assert chain("intact", "--key", key, "--checkpoint", str(note), *at)[0] == 0
    assert chain("prove", "9999", "--out", str(proof), *at)[0] == 1
    assert chain("prove", "no-decision", "--out", str(proof), *at)[0] == 1
    assert chain("prove", "9" * 5000, "--out", str(proof), *at)[0] == 1
    paid = json.loads(chain("who", "--tool", "bank.pay", *at, "--json")[1])["rows"][0]
    assert chain("prove", paid["decision"], "--out", str(proof), *at)[0] == 0
    assert json.loads(chain("proven", str(proof), "--key", key, "--json")[1])["revision"] == paid["record"]
    assert chain("cosign", str(note), *at)[0] == 2
