"""Signed notes, checkpoints and proofs of single records, each lie beside what it was told of."""

from __future__ import annotations

from base64 import b64encode

import pytest

from chain import merkle
from chain.checkpoint import Checkpoint, InclusionProof
from chain.key import KeySigner
from chain.note import Kind, Note, NoteError, NoteKey
from tests.support import ec_signer

LOG, OTHER, WITNESS = (KeySigner.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
KEY = NoteKey("ledger.example/main", LOG.key)
SEEN = NoteKey("witness.example", WITNESS.key, Kind.COSIGNATURE)
RECORDS = [b'{"revision":%d}' % number for number in range(1, 12)]
LEAVES = [merkle.leaf_hash(record) for record in RECORDS]


def nodes(level: int, index: int) -> bytes:
    found = LEAVES[index << level : (index + 1) << level]
    while len(found) > 1:
        found = [merkle.node_hash(*found[place : place + 2]) for place in range(0, len(found), 2)]
    return found[0]


HEAD = Checkpoint(KEY.name, len(LEAVES), merkle.root(len(LEAVES), nodes))
NOTE = Note(HEAD.text).sign(KEY.name, LOG).cosign(SEEN.name, WITNESS, 1_700_000_000)
PROOF = InclusionProof(5, tuple(merkle.inclusion(5, len(LEAVES), nodes)), NOTE)


def test_a_note_of_another_implementation_is_read() -> None:
    """The example of golang.org/x/mod/sumdb/note."""
    key = NoteKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = (
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    note = Note.parse(f"{text}\n{line}".encode())
    assert note.signed_by(key) == 0
    assert note.text == text
    with pytest.raises(NoteError, match="does not hold"):
        Note(text.replace("answer", "problem"), note.signatures).signed_by(key)


def test_a_note_and_a_key_are_read_as_they_were_written() -> None:
    assert Note.parse(bytes(NOTE)) == NOTE
    assert NoteKey.parse(str(KEY)) == KEY
    assert NoteKey.parse(str(SEEN)) == SEEN
    assert KEY.id != NoteKey(KEY.name, KEY.key, Kind.COSIGNATURE).id
    assert InclusionProof.parse(bytes(PROOF)) == PROOF


def test_who_signed_and_when() -> None:
    assert NOTE.signed_by(KEY) == 0
    assert NOTE.signed_by(SEEN) == 1_700_000_000
    assert NOTE.signed_by(NoteKey(KEY.name, OTHER.key)) is None
    assert NOTE.signed_by(NoteKey(KEY.name, KEY.key, Kind.COSIGNATURE)) is None
    assert Checkpoint.of(NOTE, KEY, [SEEN]) == HEAD


def test_a_signature_under_a_known_name_that_does_not_hold_spoils_the_note() -> None:
    forged = Note(NOTE.text, (*NOTE.signatures, (KEY.name, KEY.id + bytes(64))))
    with pytest.raises(NoteError, match="does not hold"):
        Checkpoint.of(forged, KEY)
    strange = Note(NOTE.text, (*NOTE.signatures, (KEY.name, b"\0\0\0\0" + bytes(64))))
    assert Checkpoint.of(strange, KEY) == HEAD


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD.text.replace("main", "other"), "another log"),
        (HEAD.text.replace("\n11\n", "\n011\n"), "decimal"),
        (HEAD.text.replace("\n11\n", "\n-1\n"), "decimal"),
        (HEAD.text.replace("\n11\n", "\n" + "9" * 20 + "\n"), "decimal"),
        (HEAD.text + "more\n", "three lines"),
        ("\n".join(HEAD.text.split("\n")[:2]) + "\n", "three lines"),
        (HEAD.text.replace("=", ""), "SHA-256"),
        (f"{KEY.name}\n11\n{b64encode(bytes(31)).decode()}\n", "SHA-256"),
    ],
)
def test_what_is_no_checkpoint_though_its_log_signed_it(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        Checkpoint.of(Note(text).sign(KEY.name, LOG), KEY)
    assert Checkpoint.of(Note(HEAD.text).sign(KEY.name, LOG), KEY) == HEAD


def test_a_checkpoint_that_others_signed_is_none() -> None:
    for note in (Note(HEAD.text), Note(HEAD.text).sign(KEY.name, OTHER), Note(HEAD.text).sign("other", LOG)):
        with pytest.raises(NoteError, match="did not sign"):
            Checkpoint.of(note, KEY)
    with pytest.raises(NoteError, match=r"`witness.example` did not sign"):
        Checkpoint.of(Note(HEAD.text).sign(KEY.name, LOG), KEY, [SEEN])
    later = Note(NOTE.text, ((KEY.name, NOTE.signatures[0][1]), (SEEN.name, SEEN.id + bytes(8) + bytes(64))))
    with pytest.raises(NoteError, match="does not hold"):
        Checkpoint.of(later, KEY, [SEEN])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno line\n",
        "text\n\n— name AAAAAA==".encode(),
        "text\n\n— name AAAAAA==\n".encode(),  # an id and no signature
        "text\n\n— na+me AAAAAAA=\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),  # another spelling of the same bytes
        "text\n\n— name !!!!\n".encode(),
        "te\txt\n\n— name AAAAAAA=\n".encode(),
        b"\xff\n\n" + "— name AAAAAAA=\n".encode(),
        b"x" * (1 << 16) + "\n\n— name AAAAAAA=\n".encode(),
        ("text\n\n" + "— name AAAAAAA=\n" * 65).encode(),
    ],
)
def test_what_is_no_note(data: bytes) -> None:
    with pytest.raises(NoteError):
        Note.parse(data)
    assert Note.parse("text\n\n— name AAAAAAA=\n".encode()).text == "text\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        str(KEY).replace("+", "-"),
        str(KEY)[:-4],
        KEY.name + "+00000000+" + str(KEY).rpartition("+")[2],
        f"{KEY.name}+{KEY.id.hex()}+{b64encode(bytes([2]) + KEY.key.raw).decode()}",
        f"{KEY.name}+{KEY.id.hex()}+{b64encode(bytes([1]) + bytes(32)).decode()}",  # a point of small order
    ],
)
def test_what_is_no_verifier_key(text: str) -> None:
    with pytest.raises(NoteError):
        NoteKey.parse(text)
    assert NoteKey.parse(str(KEY)) == KEY


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "a" * 257])
def test_what_is_no_name_of_a_key(name: str) -> None:
    with pytest.raises(NoteError):
        NoteKey(name, KEY.key)
    assert NoteKey(name.replace(" ", "").replace("+", "").replace("\n", "")[:256] or "a", KEY.key)


def test_a_key_of_another_type_signs_no_note() -> None:
    with pytest.raises(NoteError, match="Ed25519"):
        NoteKey(KEY.name, ec_signer("x").key)
    assert NoteKey(KEY.name, KEY.key)


def test_a_record_is_proven_by_keys_alone() -> None:
    proof = InclusionProof.parse(bytes(PROOF))
    assert proof.require(RECORDS[5], KEY, [SEEN]) == HEAD
    extra = bytes(PROOF).replace(b"index", b"extra AAAA\nindex", 1)
    assert InclusionProof.parse(extra) == PROOF


def test_no_other_record_place_path_or_head_is_proven() -> None:
    wrong = [
        (RECORDS[4], PROOF),
        (RECORDS[5], InclusionProof(4, PROOF.path, NOTE)),
        (RECORDS[5], InclusionProof(5, PROOF.path[:-1], NOTE)),
        (RECORDS[5], InclusionProof(5, (*PROOF.path, PROOF.path[0]), NOTE)),
        (RECORDS[5], InclusionProof(5, PROOF.path, Note(HEAD.text).sign(KEY.name, OTHER))),
        (RECORDS[5], InclusionProof(11, PROOF.path, NOTE)),
    ]
    for record, proof in wrong:
        with pytest.raises(NoteError):
            proof.require(record, KEY)
    assert PROOF.require(RECORDS[5], KEY) == HEAD


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"tlog-proof@v1", b"tlog-proof@v2"),
        (b"index 5", b"index 05"),
        (b"index 5", b"index -5"),
        (b"index 5\n", b""),
        (b"index 5\n", b"index 5\nAAAA\n"),
        (b"index 5\n", b"index 5\n" + b"%s\n" % b64encode(bytes(32)) * 70),
        (b"index", b"\xff"),
        (b"\n\n", b"\n"),
    ],
)
def test_what_is_no_proof(old: bytes, new: bytes) -> None:
    assert old in bytes(PROOF)
    with pytest.raises(NoteError):
        InclusionProof.parse(bytes(PROOF).replace(old, new))
    assert InclusionProof.parse(bytes(PROOF)) == PROOF
