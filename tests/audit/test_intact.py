"""An exported ledger: whatever is changed in it is found, and named."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from chain.checkpoint import Checkpoint
from chain.export import write
from chain.intact import Verdict, verify
from chain.key import KeySigner
from chain.note import Kind, Note, NoteKey
from tests.audit.exported import KEY, LOG, SEEN, WITNESS, checkpoint, lines, records, second_opinion

DATA = records(16)
FILE = lines(DATA, (4, 9, 16))
LARGE = records(600)
MANY = lines(LARGE, (100, 300, 600))


def named(verdict: Verdict) -> set[tuple[int, int]]:
    return {(flaw.first, flaw.last) for flaw in verdict.flaws if flaw.first}


@pytest.mark.parametrize(
    "file", [FILE, MANY, lines(records(1), (1,)), lines(records(256), (256,)), lines(records(257), (257,))]
)
def test_what_was_exported_is_intact(file: list[bytes]) -> None:
    verdict = verify(file, KEY, [SEEN])
    assert verdict.intact, verdict.flaws
    assert second_opinion(b"".join(file))


def test_the_checkpoints_that_hold_are_told() -> None:
    verdict = verify(FILE, KEY, [SEEN], [checkpoint(DATA[:9])])
    assert ([one.size for one in verdict.checkpoints], verdict.records) == ([4, 9, 16], 16)


def mutations(source: random.Random) -> tuple[str, bytes, int]:
    """One change to the file; with the revision of the record that it hits, 0 for none."""
    whole = b"".join(FILE)
    kind = source.choice(("flip", "flip", "flip", "flip", "delete", "insert", "drop", "swap", "twice", "cut"))
    rows = list(FILE)
    if kind in {"drop", "swap", "twice"}:
        at = source.randrange(len(rows))
        if kind == "drop":
            del rows[at]
        elif kind == "swap":
            other = source.choice([place for place in range(len(rows)) if place != at])
            rows[at], rows[other] = rows[other], rows[at]
            at = min(at, other)
        else:
            rows.insert(at, rows[at])
        return kind, b"".join(rows), at if 0 < at <= len(DATA) and kind != "swap" else 0
    at = source.randrange(len(whole))
    hit = sum(1 for _ in whole[:at].split(b"\n")) - 1
    hit = hit if 0 < hit <= len(DATA) and whole[at : at + 1] != b"\n" else 0
    if kind == "cut":
        return kind, whole[:at], 0
    if kind == "delete":
        return kind, whole[:at] + whole[at + 1 :], hit
    if kind == "insert":
        return kind, whole[:at] + bytes([source.randrange(256)]) + whole[at:], 0
    return kind, whole[:at] + bytes([whole[at] ^ source.randrange(1, 256)]) + whole[at + 1 :], hit


def test_ten_thousand_random_changes_are_all_found() -> None:
    source, hits = random.Random(9162), 0
    for number in range(10_000):
        kind, changed, hit = mutations(source)
        if changed == b"".join(FILE):
            continue
        verdict = verify(changed.splitlines(keepends=True), KEY, [SEEN])
        assert not verdict.intact, (number, kind)
        if hit:
            hits += 1
            assert any(first <= hit <= last for first, last in named(verdict)), (number, kind, hit, verdict.flaws)
        if number % 10 == 0 and kind != "flip":
            assert not second_opinion(changed), (number, kind)
    assert hits > 3_000


@pytest.mark.parametrize("revision", [1, 2, 100, 101, 255, 256, 257, 512, 599, 600])
def test_a_changed_record_is_named_by_itself(revision: int) -> None:
    changed = list(MANY)
    changed[revision] = changed[revision].replace(b"ALLOW", b"DENY")
    verdict = verify(changed, KEY)
    assert named(verdict) == {(revision, revision)}
    assert not second_opinion(b"".join(changed))


@pytest.mark.parametrize(("first", "last"), [(1, 1), (5, 7), (256, 300), (590, 599), (600, 600)])
def test_records_that_are_dropped_are_named(first: int, last: int) -> None:
    verdict = verify(MANY[:first] + MANY[last + 1 :], KEY)
    assert named(verdict) == {(first, last)}
    assert any(flaw.what == "missing" for flaw in verdict.flaws)


def test_a_record_in_another_place_is_named() -> None:
    changed = [*MANY[:10], MANY[11], MANY[10], *MANY[12:]]
    assert (10, 10) in named(verify(changed, KEY))


def forged(count: int = 600, change: int = 450) -> tuple[list[bytes], list[bytes]]:
    data = list(LARGE[:count])
    data[change - 1] = data[change - 1].replace(b"ALLOW", b"DENY")
    return data, lines(data, (100, 300, count))


def test_whoever_has_no_key_cannot_make_it_fit() -> None:
    """All hashes are made anew, and only the signed checkpoints are the old ones."""
    data, _ = forged()
    notes = [checkpoint(LARGE[:size]) for size in (100, 300, 600)]
    verdict = verify(write(KEY.name, data, 600, notes), KEY)
    assert not verdict.intact
    assert named(verdict) == {(301, 600)}, "no more can be known: behind the last checkpoint that holds"


def test_a_log_that_signs_two_histories_is_found_by_who_kept_a_checkpoint() -> None:
    _, other = forged()
    assert verify(other, KEY).intact, "alone it is a ledger like any other"
    verdict = verify(other, KEY, (), [checkpoint(LARGE[:500])])
    assert [flaw.what for flaw in verdict.flaws] == ["a fork: your checkpoint is of other records"]
    assert verify(MANY, KEY, (), [checkpoint(LARGE[:500])]).intact


def test_records_cut_off_with_their_checkpoint_are_found_by_who_kept_one() -> None:
    short = lines(LARGE[:300], (100, 300))
    assert verify(short, KEY).intact
    verdict = verify(short, KEY, (), [checkpoint(LARGE)])
    assert named(verdict) == {(301, 600)}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda file: verify(file, NoteKey(KEY.name, WITNESS.key)),
        lambda file: verify(file, NoteKey("other.example", LOG.key)),
        lambda file: verify(file, KEY, [NoteKey("another.example", WITNESS.key, Kind.COSIGNATURE)]),
        lambda file: verify(file, KEY, (), [checkpoint(DATA[:5], KeySigner.from_seed(b"x" * 32))]),
        lambda file: verify([], KEY),
        lambda file: verify(file[:1], KEY),
        lambda file: verify([*file[:-1], b"\n"], KEY),
        lambda file: verify([*file, file[-1]], KEY),
        lambda file: verify([file[0].replace(b"16", b"17"), *file[1:]], KEY),
        lambda file: verify([*file[:17], *file[19:]], KEY),  # without the hashes beside the records
        lambda file: verify([b"x\n"] * 5000, KEY),
    ],
)
def test_an_export_under_other_keys_or_in_another_form_is_not_intact(
    break_it: Callable[[list[bytes]], Verdict],
) -> None:
    verdict = break_it(FILE)
    assert not verdict.intact
    assert verdict.flaws
    assert len(verdict.flaws) <= 1000
    assert verify(FILE, KEY, [SEEN]).intact


def test_hashes_beside_the_records_that_lie_hide_nothing() -> None:
    data, _ = forged(change=300)
    changed = list(MANY)
    changed[300] = data[299] + b"\n"
    changed[602] = lines(data, (100, 300, 600))[602]  # the tile of that record, made to fit
    assert named(verify(changed, KEY)) == {(257, 512)}


def test_a_checkpoint_of_an_empty_log_covers_nothing() -> None:
    note = Note(Checkpoint(KEY.name, 0, bytes(32)).text).sign(KEY.name, LOG)
    assert not verify([*FILE[:-4], note.text.encode()], KEY).intact


def test_a_checkpoint_of_more_records_than_anybody_has_costs_nothing() -> None:
    """The log's own key signs any number; the reader names what is missing, and counts nothing out."""
    largest = 10**18
    note = Note(Checkpoint(KEY.name, largest, bytes(32)).text).sign(KEY.name, LOG)
    verdict = verify(list(write(KEY.name, DATA, largest, [note])), KEY)
    assert [(flaw.what, flaw.first, flaw.last) for flaw in verdict.flaws] == [("missing", len(DATA) + 1, largest)]
    assert not verdict.intact
    assert verify(list(write(KEY.name, DATA, len(DATA), [checkpoint(DATA)])), KEY).intact


def test_many_checkpoints_are_looked_up_and_not_searched_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server signs one a minute: each is compared with what it may equal, and not with all the others."""
    compared = 0
    plain = Checkpoint.__eq__

    def counted(one: Checkpoint, other: object) -> bool:
        nonlocal compared
        compared += 1
        return plain(one, other)

    monkeypatch.setattr(Checkpoint, "__eq__", counted)
    sizes = range(1, 301)
    assert verify(lines(LARGE, (*sizes, 600)), KEY, [SEEN]).intact
    assert compared < 10 * len(sizes)
