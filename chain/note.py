"""Signed notes: text, and whoever signed it (C2SP signed-note, tlog-cosignature).

The law of this file: the text counts only once a key that the reader named has signed it. Signatures of others are
ignored, one of a named key that does not hold spoils the note, and a note has one spelling.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

from chain.errors import InvalidRequestError
from chain.key import KeyRefusedError, PublicKey, Signer

MAX_NOTE = 1 << 16
"""Bytes of a note: a checkpoint has 150, and each signature 200."""

MAX_SIGNATURES = 64
"""Signatures on a note; a reader must take 16."""

_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,256}")
_LINE = re.compile(r"— (\S+) (\S+)")
_VKEY = re.compile(r"(\S+?)\+([0-9a-f]{8})\+(\S+)")


class NoteError(InvalidRequestError):
    """A note or a key for notes that cannot be read, or that nobody who was named has signed."""


class Kind(IntEnum):
    """The signature types that are known here (signed-note, "Signature types")."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class NoteKey:
    """Whose signature on a note counts.

    Attributes:
        name: the key's name, no secret and no proof.
        key: Ed25519.
        kind: whether it signs notes, or cosigns checkpoints as a witness.
    """

    name: str
    key: PublicKey
    kind: Kind = Kind.ED25519

    def __post_init__(self) -> None:
        """Refuse a name that no signature line can hold, and a key of another type."""
        if _NAME.fullmatch(self.name) is None:
            raise NoteError("the name of a note's key is 1 to 256 characters, without spaces and without `+`")
        if self.key.alg != "EdDSA":
            raise NoteError("a note's key is an Ed25519 key")

    @property
    def id(self) -> bytes:
        """Four bytes that tell it from others of the name; no strong hash, and none is needed."""
        return sha256(self.name.encode() + b"\n" + self._material).digest()[:4]

    @property
    def _material(self) -> bytes:
        return bytes((self.kind,)) + self.key.raw

    def __str__(self) -> str:
        """Return the key as verifiers are given it (signed-note, "Verifier keys")."""
        return f"{self.name}+{self.id.hex()}+{b64encode(self._material).decode()}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Read a verifier key.

        Raises:
            NoteError: it is none, or none of a kind that is known here.
        """
        found = _VKEY.fullmatch(text)
        material = b"" if found is None else _unbase64(found[3])
        if found is None or len(material) != 33 or material[0] not in tuple(Kind):
            raise NoteError("not a verifier key: NAME+ID+BASE64 of an Ed25519 key or witness")
        try:
            key = cls(found[1], PublicKey("EdDSA", material[1:]), Kind(material[0]))
        except KeyRefusedError as error:
            raise NoteError(f"verifier key: {error}") from None
        if key.id.hex() != found[2]:
            raise NoteError("the verifier key's id is not its own")
        return key


@dataclass(frozen=True, slots=True)
class Note:
    """A text with signature lines; of none of them is anything known yet.

    Attributes:
        text: with its final newline.
        signatures: (name, id and signature), in their order.
    """

    text: str
    signatures: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read a note.

        Raises:
            NoteError: it is none, or too large.
        """
        if len(data) > MAX_NOTE:
            raise NoteError(f"a note of more than {MAX_NOTE} bytes")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise NoteError("a note is UTF-8") from None
        if any(character < " " and character != "\n" for character in whole):
            raise NoteError("a note holds no control characters")
        text, gap, tail = whole.rpartition("\n\n")
        if not gap or not tail.endswith("\n"):
            raise NoteError("a note is text, an empty line and signature lines")
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise NoteError(f"more than {MAX_SIGNATURES} signatures on a note")
        return cls(text + "\n", tuple(map(_signature, lines)))

    def __bytes__(self) -> bytes:
        """Return the note as it is written."""
        lines = "".join(f"— {name} {b64encode(signature).decode()}\n" for name, signature in self.signatures)
        return f"{self.text}\n{lines}".encode()

    def sign(self, name: str, signer: Signer) -> Note:
        """Return the note with another signature."""
        key = NoteKey(name, signer.key)
        return self._with(key, signer.sign(self.text.encode()))

    def cosign(self, name: str, signer: Signer, time: int) -> Note:
        """Return the note with a witness's cosignature.

        Args:
            name: the witness's.
            signer: its key.
            time: seconds since the epoch, when it saw that the checkpoint follows those before it.
        """
        key = NoteKey(name, signer.key, Kind.COSIGNATURE)
        return self._with(key, time.to_bytes(8, "big") + signer.sign(_cosigned(self.text, time)))

    def signed_by(self, key: NoteKey) -> int | None:
        """Return when a key signed this note, 0 where it does not say so, or None where it did not sign.

        Raises:
            NoteError: a signature bears the key's name and id, and is not the key's.
        """
        when = None
        for name, signature in self.signatures:
            if (name, signature[:4]) == (key.name, key.id):
                when = self._signed(key, signature[4:])
        return when

    def require(self, keys: Iterable[NoteKey]) -> None:
        """Return where every one of these keys signed the note.

        Raises:
            NoteError: one did not.
        """
        for key in keys:
            if self.signed_by(key) is None:
                raise NoteError(f"`{key.name}` did not sign this note")

    def _signed(self, key: NoteKey, signature: bytes) -> int:
        time, message = 0, self.text.encode()
        if key.kind is Kind.COSIGNATURE:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = _cosigned(self.text, time)
        if not key.key.verify(signature, message):
            raise NoteError(f"a signature of `{key.name}` does not hold")
        return time

    def _with(self, key: NoteKey, signature: bytes) -> Note:
        return Note(self.text, (*self.signatures, (key.name, key.id + signature)))


def _cosigned(text: str, time: int) -> bytes:
    """Return what a witness signs (tlog-cosignature, "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _signature(line: str) -> tuple[str, bytes]:
    found = _LINE.fullmatch(line)
    if found is None or _NAME.fullmatch(found[1]) is None:
        raise NoteError("not a signature line")
    signature = _unbase64(found[2])
    if len(signature) <= 4:
        raise NoteError("not a signature line")
    return found[1], signature


def _unbase64(text: str) -> bytes:
    """Read base64 in its one spelling (RFC 4648 s4, s3.5)."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        data = b""
    return data if b64encode(data).decode() == text else b""
