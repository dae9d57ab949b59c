"""What every store owes; each test runs against all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from itertools import pairwise

import pytest

from chain.errors import StoreError
from chain.ledger import (
    DelegationRow,
    Durability,
    EnrolmentRow,
    NonceRow,
    ReplyRow,
    RevocationRow,
    StandingRow,
    Store,
    Write,
    decode,
)
from chain.merkle import leaf_hash
from tests.store.samples import Batch, delegation, digest, record


def write(store: Store, make: Callable[[int], Write]) -> int:
    return store.commit(Batch(make)).result(10)


@pytest.mark.parametrize("durability", Durability)
def test_a_record_gets_the_next_revision(store: Store, durability: Durability) -> None:
    assert store.head == 0
    batches = [Batch(durability=durability) for _ in range(3)]
    assert [store.commit(batch).result(10) for batch in batches] == [1, 2, 3]
    assert [batch.calls for batch in batches] == [[1], [2], [3]]
    assert store.head == 3


def test_a_batch_resolves_to_its_last_record(store: Store) -> None:
    assert write(store, lambda first: Write([record(first + i) for i in range(5)])) == 5
    assert [decode(data).revision for data, _ in store.records()] == [1, 2, 3, 4, 5]


def test_a_batch_without_records_resolves_to_the_head(store: Store) -> None:
    assert write(store, lambda _: Write([])) == 0
    write(store, lambda first: Write([record(first)]))
    assert write(store, lambda _: Write([], nonces=[NonceRow(digest(1), "n", 50)])) == 1
    assert [row.jti for row in store.nonces(0)] == ["n"]


def test_synced_covers_a_synced_commit_and_what_came_before(store: Store) -> None:
    store.commit(Batch(durability=Durability.WRITTEN)).result(10)
    assert store.commit(Batch()).result(10) == 2
    assert store.synced == store.head == 2


def test_an_empty_synced_batch_syncs_what_was_written(store: Store) -> None:
    store.commit(Batch(durability=Durability.WRITTEN)).result(10)
    assert store.commit(Batch(lambda _: Write([]))).result(10) == 1
    assert store.synced == 1


def test_prepare_that_raises_fails_its_batch_alone(store: Store) -> None:
    def refuse(first: int) -> Write:
        raise LookupError(f"nothing for {first}")

    futures = [store.commit(Batch(make)) for make in (None, refuse, None)]
    assert futures[0].result(10) == 1
    with pytest.raises(LookupError, match="nothing for 2"):
        futures[1].result(10)
    assert futures[2].result(10) == 2
    assert len(store.records()) == 2


def test_a_record_at_the_wrong_revision_stops_the_store(store: Store) -> None:
    write(store, lambda first: Write([record(first)]))
    for make in (lambda first: Write([record(first + 1)]), lambda first: Write([record(first)])):
        with pytest.raises(StoreError, match="bears revision 3 where 2 is next"):
            write(store, make)
    assert (store.head, len(store.records())) == (1, 1)


def test_a_record_that_is_none_stops_the_store(store: Store) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        write(store, lambda _: Write([b'{"revision":']))
    assert store.records() == []


def test_prepare_may_read_the_store(store: Store) -> None:
    write(store, lambda first: Write([record(first)], [delegation("a", first)]))
    seen: list[object] = []

    def look(first: int) -> Write:
        seen.append(store.delegation(digest("a")))
        return Write([record(first)])

    assert write(store, look) == 2
    assert seen == [delegation("a", 1)]


def test_a_commit_cannot_be_cancelled(store: Store) -> None:
    begun, leave = threading.Event(), threading.Event()

    def wait(first: int) -> Write:
        begun.set()
        leave.wait(10)
        return Write([record(first)])

    first: list[Future[int]] = []
    slow = threading.Thread(target=lambda: first.append(store.commit(Batch(wait))))
    slow.start()
    begun.wait(10)
    second: list[Future[int]] = []
    after = threading.Thread(target=lambda: second.append(store.commit(Batch())))
    after.start()
    after.join(0.2)  # a store with a queue returns at once, the memory store when the first is done
    cancelled = [future.cancel() for future in second]
    leave.set()
    slow.join(10)
    after.join(10)
    assert not any(cancelled)
    assert (first[0].result(10), second[0].result(10)) == (1, 2)


def test_commits_from_many_threads_leave_no_gap_and_lose_nothing(store: Store) -> None:
    results: list[list[int]] = []

    def produce(seed: int) -> None:
        kinds = [Durability.SYNCED if (i + seed) % 3 == 0 else Durability.WRITTEN for i in range(40)]
        results.append([store.commit(Batch(durability=kind)).result(30) for kind in kinds])

    threads = [threading.Thread(target=produce, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(revision for each in results for revision in each) == list(range(1, 241))
    assert all(before < after for each in results for before, after in pairwise(each))
    assert [decode(data).revision for data, _ in store.records()] == list(range(1, 241))


def test_records_carry_their_leaf_hash_and_come_by_page_and_kind(store: Store) -> None:
    kinds = ["issued", "decided", "decided", "revoked", "decided", "issued"]
    write(store, lambda first: Write([record(first + i, kind, n=i) for i, kind in enumerate(kinds)]))
    everything = store.records()
    assert [decode(data).kind for data, _ in everything] == kinds
    assert all(leaf == leaf_hash(data) for data, leaf in everything)
    assert store.records(3, 2) == everything[2:4]
    assert store.records(0) == store.records(-5) == everything
    assert store.records(kind="issued") == [everything[0], everything[5]]
    assert store.records(2, kind="issued") == [everything[5]]
    assert store.records(kind="decided", limit=2) == everything[1:3]
    assert store.leaves(0, 9) == [leaf for _, leaf in everything]
    assert store.leaves(2, 2) == [leaf for _, leaf in everything[2:4]]
    assert store.leaves(6, 5) == store.leaves(0, 0) == store.leaves(0, -1) == []
    assert store.records(7) == store.records(kind="enrolled") == store.records(1, 0) == store.records(1, -1) == []


def test_a_delegation_is_kept_whole_and_once(store: Store) -> None:
    row = delegation("a", 1, parent=digest("p"), holder="h", task="t", depth=3)
    write(store, lambda first: Write([record(first)], [row]))
    write(store, lambda first: Write([record(first)], [delegation("a", first, token=b"another")]))
    assert store.delegation(digest("a")) == row
    assert store.delegation(digest("b")) is None
    assert store.delegations() == [row]


def test_a_name_is_that_of_the_first_who_bore_it(store: Store) -> None:
    rows = [delegation(name, 1, issuer=issuer, jti="j") for name, issuer in (("z", "x"), ("a", "x"), ("b", "y"))]
    write(store, lambda first: Write([record(first)], rows[:1]))
    write(store, lambda first: Write([record(first)], rows))
    assert (store.named("x", "j"), store.named("y", "j")) == (digest("z"), digest("b"))
    assert store.named("x", "J") is store.named("z", "j") is None


def family(first: int) -> Write:
    """Two roots; under `r` a and b, under a c: children before parents within the one batch."""
    rows = [
        delegation("c", first, parent=digest("a"), depth=2, holder="h2", task="t1", exp=150),
        delegation("a", first, parent=digest("r"), depth=1, holder="h1", task="t1", exp=200),
        delegation("r", first, holder="h0", task="t1", exp=300),
        delegation("b", first + 1, parent=digest("r"), depth=1, holder="h1", task="t1", exp=200),
        delegation("s", first + 1, holder="h1", task="t2", exp=300),
        delegation("q", first + 2),
    ]
    return Write([record(first + i) for i in range(3)], rows)


def names(rows: Iterable[DelegationRow]) -> set[str]:
    return {row.jti.removeprefix("jti-") for row in rows}


def test_delegations_are_found_by_what_is_asked(store: Store) -> None:
    write(store, family)
    assert names(store.delegations()) == set("rabcsq")
    assert names(store.delegations(now=150)) == set("rabsq")
    assert names(store.delegations(holder="h1")) == set("abs")
    assert names(store.delegations(holder="")) == {"q"}
    assert names(store.delegations(task="t1")) == set("rabc")
    assert names(store.delegations(task="")) == {"q"}
    assert names(store.delegations(under=digest("r"))) == set("abc")
    assert names(store.delegations(under=digest("a"))) == {"c"}
    assert names(store.delegations(under=digest("c"))) == set()
    assert names(store.delegations(under=digest("r"), holder="h1", task="t1", now=100, after=1)) == {"b"}
    assert store.children(digest("r")) == [digest("a"), digest("b")]
    assert store.children(digest("c")) == []


def test_pages_of_delegations_lose_nothing_and_split_no_revision(store: Store) -> None:
    write(store, family)
    everything = store.delegations()
    assert everything == sorted(everything, key=lambda row: (row.revision, row.digest))
    assert store.delegations(limit=0) == []
    for limit in range(1, 8):
        pages, after = [], 0
        while page := store.delegations(after=after, limit=limit):
            pages += page
            after = page[-1].revision
        assert pages == everything
    assert len(store.delegations(limit=1)) == 3


def test_live_gives_parents_before_children_and_nothing_expired(store: Store) -> None:
    write(store, family)
    rows = list(store.live(149))
    seen: set[bytes | None] = {None}
    for row in rows:
        assert row.parent in seen
        seen.add(row.digest)
    assert names(rows) == set("rabcsq")
    assert names(store.live(150)) == set("rabsq")
    assert names(store.live(200)) == {"r", "s", "q"}
    assert names(store.live(1000)) == set()


def test_a_revocation_counts_once_and_keeps_its_place(store: Store) -> None:
    rows = [RevocationRow(digest(name), 1, 7) for name in "zay"]
    write(store, lambda first: Write([record(first)], revocations=rows))
    write(store, lambda first: Write([record(first)], revocations=[RevocationRow(digest("a"), first, 9)]))
    assert list(store.revocations()) == rows


def noting(nonce: NonceRow, first: int) -> Write:
    return Write([record(first)], nonces=[nonce])


def enrolling(thumbprint: str, body: bytes, first: int) -> Write:
    return Write([record(first)], enrolments=[EnrolmentRow(thumbprint, body, first)])


def test_a_nonce_is_remembered_until_it_expires_and_longest_wins(store: Store) -> None:
    early, late, other = NonceRow(digest(1), "n", 50), NonceRow(digest(1), "n", 60), NonceRow(digest(2), "n", 40)
    for row in (early, late, early, other):
        write(store, partial(noting, row))
    assert {(row.digest, row.expires) for row in store.nonces(0)} == {(digest(1), 60), (digest(2), 40)}
    assert list(store.nonces(40)) == list(store.nonces(59)) == [late]
    assert list(store.nonces(60)) == []


def test_the_latest_enrolment_of_a_key_counts(store: Store) -> None:
    for thumbprint, body in (("b", b"1"), ("a", b"2"), ("b", b"3")):
        write(store, partial(enrolling, thumbprint, body))
    assert list(store.enrolments()) == [EnrolmentRow("a", b"2", 2), EnrolmentRow("b", b"3", 3)]


def test_a_reply_is_found_under_its_caller_method_and_key_alone(store: Store) -> None:
    row = ReplyRow("me", "Delegate", "k", digest("request"), b"answer", 1, 50)
    write(store, lambda first: Write([record(first)], replies=[row]))
    assert store.reply("me", "Delegate", "k") == row
    for other in (("you", "Delegate", "k"), ("me", "Revoke", "k"), ("me", "Delegate", "K")):
        assert store.reply(*other) is None


def test_sweep_takes_what_expired_and_nothing_else(store: Store) -> None:
    many = [NonceRow(digest(i), "n", 10 + i % 2) for i in range(1300)]
    replies = [ReplyRow("me", "Delegate", str(i), digest(i), b"", 1, 10 + i % 2) for i in range(4)]
    gone = Write([record(1)], [delegation("a", 1, exp=1)], many, [RevocationRow(digest("a"), 1, 1)], [], replies)
    write(store, lambda _: gone)
    assert store.sweep(9) == 0
    assert store.sweep(10) == 652
    assert (len(list(store.nonces(0))), store.reply("me", "Delegate", "0")) == (650, None)
    assert store.reply("me", "Delegate", "1") == replies[1]
    assert (len(store.records()), len(store.delegations()), len(list(store.revocations()))) == (1, 1, 1)


def test_a_closed_store_takes_no_commit(store: Store) -> None:
    future = store.commit(Batch())
    store.close()
    store.close()
    assert future.result(10) == 1
    for durability in Durability:
        late = Batch(durability=durability)
        with pytest.raises(StoreError, match="closed"):
            store.commit(late).result(10)
        assert late.calls == []


def test_what_expired_goes_in_the_background(store: Store) -> None:
    many = [NonceRow(digest(i), "n", 10 + i % 2) for i in range(1300)]
    write(store, lambda first: Write([record(first)], nonces=many))
    store.expire(10)
    deadline = time.monotonic() + 10
    while len(list(store.nonces(0))) > 650:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert len(list(store.nonces(0))) == 650


def test_descendants_are_counted_up_to_a_limit(store: Store) -> None:
    write(store, family)
    rows = {row.digest: row for row in store.delegations(limit=100)}
    top = next(row.digest for row in rows.values() if row.parent is None and store.children(row.digest))
    everything = {row.digest for row in store.delegations(under=top)}
    found = store.descendants(top, now=0, until=store.head, limit=100)
    assert (set(found), len(found)) == (everything, len(everything))
    for place, one in enumerate(found):
        assert rows[one].parent in (top, *found[:place])
    for limit in range(len(found) + 1):
        part = store.descendants(top, now=0, until=store.head, limit=limit)
        assert len(part) == limit
        assert set(part) <= everything
    last = max(row.exp for row in rows.values())
    assert store.descendants(top, now=last, until=store.head, limit=100) == []
    assert store.descendants(top, now=0, until=0, limit=100) == []
    assert store.descendants(digest("nobody"), now=0, until=store.head, limit=100) == []


def test_a_store_that_stopped_says_so_and_a_closed_one_did_not_stop(store: Store) -> None:
    assert store.failure is None
    store.close()
    assert store.failure is None


def test_a_store_that_stopped_says_why(store: Store) -> None:
    with pytest.raises(StoreError):
        store.commit(Batch(lambda first: Write([record(first + 1)]))).result(10)
    assert store.failure is not None
    assert "opened again" in store.failure


def standing(*rows: StandingRow) -> Callable[[int], Write]:
    return lambda first: Write([record(first)], standing=list(rows))


def test_what_stands_is_kept_whole_and_the_latest_counts(store: Store) -> None:
    first, second = StandingRow("a", "n", b"one", 50, 1), StandingRow("a", "n", b"two", 0, 2)
    write(store, standing(first))
    assert store.stands("a", "n") == first
    write(store, standing(second))
    assert store.stands("a", "n") == second
    assert list(store.standing("a")) == [second]
    for other in (("b", "n"), ("a", "N"), ("a", ""), ("", "n")):
        assert store.stands(*other) is None


def test_of_one_name_in_one_batch_the_last_row_counts(store: Store) -> None:
    rows = [StandingRow("a", "n", body, 0, 1) for body in (b"one", b"", b"three")]
    write(store, standing(*rows))
    assert store.stands("a", "n") == rows[-1]
    write(store, standing(StandingRow("a", "n", b"four", 0, 2), StandingRow("a", "n", b"", 0, 2)))
    assert store.stands("a", "n") is None


def test_an_empty_body_takes_away_what_stood(store: Store) -> None:
    keep = StandingRow("a", "keep", b"x", 0, 1)
    write(store, standing(keep, StandingRow("a", "n", b"x", 0, 1), StandingRow("b", "n", b"x", 0, 1)))
    write(store, standing(StandingRow("a", "n", b"", 0, 2)))
    write(store, standing(StandingRow("a", "never there", b"", 0, 3)))
    assert list(store.standing("a")) == [keep]
    assert [row.name for row in store.standing("b")] == ["n"]
    again = StandingRow("a", "n", b"again", 0, 4)
    write(store, standing(again))
    assert store.stands("a", "n") == again


def test_what_stands_comes_by_kind_ordered_by_name(store: Store) -> None:
    """In the order of code points, however many and however they were written, over pages too."""
    names = ["b", "a", "B", "\u00e9", "10", "9", "", "\U0001f511", "\uffff", *(f"x{n:04d}" for n in range(2100))]
    rows = [StandingRow("k", name, b"x", 0, 1) for name in names]
    write(store, standing(*rows[::-1]))
    write(store, standing(StandingRow("other", "a", b"x", 0, 2)))
    assert [row.name for row in store.standing("k")] == sorted(names)
    assert list(store.standing("nothing")) == []


def test_what_stands_and_has_expired_is_there_until_it_is_swept(store: Store) -> None:
    """The authority says what an expiry means; 0 is never."""
    write(store, standing(*(StandingRow("a", str(expires), b"x", expires, 1) for expires in (0, 9, 10, 11))))
    assert [row.name for row in store.standing("a")] == ["0", "10", "11", "9"]
    assert store.sweep(8) == 0
    assert store.sweep(10) == 2
    assert [row.name for row in store.standing("a")] == ["0", "11"]
    assert store.stands("a", "9") is store.stands("a", "10") is None
    assert store.sweep(2**40) == 1
    assert [row.name for row in store.standing("a")] == ["0"]


def test_a_row_whose_expiry_was_put_off_is_not_swept(store: Store) -> None:
    write(store, standing(StandingRow("a", "n", b"x", 10, 1), StandingRow("a", "m", b"x", 10, 1)))
    write(store, standing(StandingRow("a", "n", b"y", 20, 2), StandingRow("a", "m", b"y", 0, 2)))
    assert store.sweep(19) == 0
    assert store.sweep(20) == 1
    assert [row.name for row in store.standing("a")] == ["m"]


def test_a_batch_that_is_refused_lets_nothing_stand(store: Store) -> None:
    def refuse(first: int) -> Write:
        raise LookupError("no")

    write(store, standing(StandingRow("a", "n", b"x", 0, 1)))
    with pytest.raises(LookupError):
        write(store, refuse)
    assert [row.body for row in store.standing("a")] == [b"x"]


def test_roots_are_found_by_their_issuer(store: Store) -> None:
    """By the issuer of the root alone: a child's `iss` is whoever signed it."""
    rows = [
        delegation("r1", 1, issuer="x"),
        delegation("r2", 1, issuer="y"),
        delegation("c1", 1, issuer="x", parent=digest("r2"), depth=1),
    ]
    write(store, lambda first: Write([record(first)], rows))
    write(store, lambda first: Write([record(first)], [delegation("r3", 2, issuer="x", exp=150)]))
    assert [row.digest for row in store.delegations(issuer="x")] == [digest("r1"), digest("r3")]
    assert [row.digest for row in store.delegations(issuer="x", now=200)] == [digest("r1")]
    assert [row.digest for row in store.delegations(issuer="x", after=1)] == [digest("r3")]
    assert [row.digest for row in store.delegations(issuer="x", limit=1)] == [digest("r1")]
    assert store.delegations(issuer="X") == store.delegations(issuer="") == []
