"""Two stores given the same batches answer alike, whatever the batches are."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger import Durability, EnrolmentRow, NonceRow, ReplyRow, RevocationRow, Store, Write
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from tests.store.samples import Batch, delegation, digest, record

NAMES = st.sampled_from("abcdef")
TEXT = st.text(st.characters(codec="utf-8"), max_size=3)
SECONDS = st.integers(0, 6)
DELEGATIONS = st.builds(
    lambda name, parent, holder, task, depth, exp: (
        name,
        {"parent": parent and digest(parent), "holder": holder, "task": task, "depth": depth, "exp": exp},
    ),
    NAMES,
    st.none() | NAMES,
    st.sampled_from(["", "h"]),
    st.sampled_from(["", "t"]),
    st.integers(0, 3),
    SECONDS,
)


@st.composite
def writes(draw: st.DrawFn) -> Batch:
    kinds = draw(st.lists(st.sampled_from(["decided", "issued", "revoked"]), max_size=3))
    rows = draw(st.lists(DELEGATIONS, max_size=4))
    nonces = draw(st.lists(st.builds(NonceRow, NAMES.map(digest), TEXT, SECONDS), max_size=3))
    revoked = draw(st.lists(NAMES, max_size=2))
    enrolled = draw(st.lists(st.tuples(TEXT.filter(bool), st.binary(max_size=3)), max_size=2))
    replies = draw(st.lists(st.tuples(TEXT, TEXT, NAMES, SECONDS), max_size=2))

    def make(first: int) -> Write:
        return Write(
            [record(first + place, kind) for place, kind in enumerate(kinds)],
            [delegation(name, first, **fields) for name, fields in rows],
            nonces,
            [RevocationRow(digest(name), first, 1) for name in revoked],
            [EnrolmentRow(thumbprint, body, first) for thumbprint, body in enrolled],
            [ReplyRow(who, method, key, digest(key), b"", first, expires) for who, method, key, expires in replies],
        )

    return Batch(make, draw(st.sampled_from(Durability)))


def answers(store: Store, now: int, limit: int) -> list[object]:
    return [
        store.head,
        [store.records(start, limit, kind) for start in (1, 3) for kind in (None, "decided", "issued")],
        [store.delegations(under=digest(name), after=after, limit=limit) for name in "abcdef" for after in (0, 2)],
        [store.delegations(holder=text, now=now, limit=limit) for text in ("", "h")],
        [store.delegations(task=text, limit=limit) for text in ("", "t")],
        [store.delegation(digest(name)) for name in "abcdef"],
        [store.children(digest(name)) for name in "abcdef"],
        [(row.revision, row.depth) for row in store.live(now)],
        {row.digest for row in store.live(now)},
        list(store.revocations()),
        sorted((row.digest, row.jti, row.expires) for row in store.nonces(now)),
        [(row.thumbprint.encode(), row.body) for row in store.enrolments()],
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(writes(), max_size=6), SECONDS, st.integers(1, 4))
def test_memory_and_sqlite_agree(batches: list[Batch], now: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        memory, sqlite = MemoryStore(), SqliteStore(Path(directory) / "ledger")
        for batch in batches:
            assert memory.commit(batch).result(10) == sqlite.commit(batch).result(10)
        expected = answers(memory, now, limit)
        assert answers(sqlite, now, limit) == expected
        sqlite.close()
        again = SqliteStore(Path(directory) / "ledger")
        assert answers(again, now, limit) == expected
        assert memory.sweep(now) == again.sweep(now)
        assert answers(again, 0, limit) == answers(memory, 0, limit)
        again.close()
