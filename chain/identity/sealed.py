"""Private keys sealed under a passphrase: Argon2id (RFC 9106) and XChaCha20-Poly1305, one key a file.

The law of this file: nothing is taken from a sealed file before its seal has held. Every byte of the file is
authenticated: the header as the seal's associated data, the file as a whole by having one spelling. What a file says
of its own cost is bounded on both sides, so that it can neither weaken the seal nor exhaust who opens it. A wrong
passphrase and a changed byte end in the same error.

Python cannot wipe a `bytes` object: while a key is in use it lies in this process's memory, and so may its passphrase.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from chain.base64url import b64decode, b64encode
from chain.errors import ConfigurationError
from chain.identity import keyfile
from chain.identity.folder import write_new
from chain.key import Jwk, KeySigner, PublicKey
from chain.privatekey import PrivateJwk

MIN_PASSPHRASE = 12
"""Bytes of a passphrase that seals: a shorter one is guessed, whatever each guess costs."""

MIN_OPS, MIN_MEMORY = 2, 19 << 20
"""The floor, passes and bytes: the least that OWASP's password storage cheat sheet gives for Argon2id."""

MAX_OPS, MAX_MEMORY = 16, 1 << 30
"""The ceiling: libsodium's SENSITIVE takes 1 GiB and 4 passes; a file that asks more would exhaust who opens it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess of a passphrase costs.

    Attributes:
        ops: passes over the memory.
        memory: bytes.
    """

    ops: int = argon2id.OPSLIMIT_MODERATE
    memory: int = argon2id.MEMLIMIT_MODERATE

    def require(self) -> None:
        """Return where the cost lies between floor and ceiling.

        Raises:
            ValueError: it does not.
        """
        if not (MIN_OPS <= self.ops <= MAX_OPS and MIN_MEMORY <= self.memory <= MAX_MEMORY):
            raise ValueError("the cost of its seal is outside what is accepted")


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A sealed key as it stands in its file; all but `box` is the associated data.

    Attributes:
        sealed: version of this form.
        kdf, ops, memory, salt: Argon2id and its parameters.
        aead, nonce: XChaCha20-Poly1305 and its nonce.
        jwk: the public half, readable without the passphrase and not to be believed before the seal held.
        box: the private JWK, encrypted; base64url, as salt and nonce are.
    """

    sealed: Literal[1]
    kdf: Literal["argon2id"]
    ops: int
    memory: int
    salt: str
    aead: Literal["xchacha20-poly1305"]
    nonce: str
    jwk: Jwk
    box: str = ""

    def header(self) -> bytes:
        """Return what the seal covers beside the key."""
        return msgspec.json.encode(msgspec.structs.replace(self, box=""))

    def to_json(self) -> bytes:
        """Return the one spelling of the file."""
        return msgspec.json.encode(self) + b"\n"


_decode = msgspec.json.Decoder(Sealed).decode
_private = msgspec.json.Decoder(PrivateJwk).decode


def require_passphrase(passphrase: bytes) -> None:
    """Return where a passphrase is long enough to seal a key.

    Raises:
        ConfigurationError: it is shorter than `MIN_PASSPHRASE`.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise ConfigurationError(f"a passphrase that seals a key has at least {MIN_PASSPHRASE} bytes")


def seal(
    private: PrivateJwk, passphrase: bytes, cost: Cost | None = None, entropy: Callable[[int], bytes] = os.urandom
) -> Sealed:
    """Return a private key under a passphrase.

    Args:
        private: the key.
        passphrase: at least `MIN_PASSPHRASE` bytes.
        cost: of each guess; None for libsodium's MODERATE (256 MiB, 3 passes).
        entropy: gives that many unguessable bytes.

    Raises:
        ConfigurationError: the passphrase is too short, or the cost out of bounds.
    """
    cost = cost or Cost()
    require_passphrase(passphrase)
    try:
        cost.require()
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    salt, nonce = entropy(argon2id.SALTBYTES), entropy(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)
    made = Sealed(
        sealed=1,
        kdf="argon2id",
        ops=cost.ops,
        memory=cost.memory,
        salt=b64encode(salt),
        aead="xchacha20-poly1305",
        nonce=b64encode(nonce),
        jwk=private.signer().key.jwk,
    )
    key = derive(passphrase, salt, cost)
    box = crypto_aead_xchacha20poly1305_ietf_encrypt(msgspec.json.encode(private), made.header(), nonce, key)
    return msgspec.structs.replace(made, box=b64encode(box))


def unseal(data: bytes, passphrase: bytes) -> KeySigner:
    """Return what signs with the key that a sealed file holds.

    Args:
        data: the file's bytes.
        passphrase: what it was sealed with.

    Raises:
        ValueError: not a sealed key in its one spelling, a cost out of bounds, or the seal does not hold.
    """
    try:
        found = _decode(data)
        salt, nonce, box = (b64decode(part.encode()) for part in (found.salt, found.nonce, found.box))
    except ValueError:
        raise ValueError("not a sealed key") from None
    if data != found.to_json() or len(salt) != argon2id.SALTBYTES:
        raise ValueError("not a sealed key in its one spelling")
    cost = Cost(found.ops, found.memory)
    cost.require()
    try:
        opened = crypto_aead_xchacha20poly1305_ietf_decrypt(box, found.header(), nonce, derive(passphrase, salt, cost))
        signer = _private(opened).signer()
    except (CryptoError, ValueError, TypeError):  # TypeError: a nonce of another length
        raise ValueError("wrong passphrase, or the file was changed") from None
    if signer.key != PublicKey.from_jwk(found.jwk):  # who knew the passphrase wrote something else beside it
        raise ValueError("holds another key than it names")
    return signer


def is_sealed(data: bytes) -> bool:
    """Tell by its form whether a file holds a sealed key rather than a plain one."""
    return data.lstrip().startswith(b'{"sealed"')


def load(path: Path, passphrase: Callable[[], bytes]) -> KeySigner:
    """Return what signs with the key in a file, plain or sealed.

    Args:
        path: of the file.
        passphrase: asked only where the file is sealed.

    Raises:
        ConfigurationError: no such file, readable by others, neither a plain nor a sealed private key, or the seal
            does not hold; and whatever `passphrase` raises.
    """
    data = keyfile.read_private(path)
    if not is_sealed(data):
        return keyfile.parse(path, data)[1]
    secret = passphrase()
    try:
        return unseal(data, secret)
    except ValueError as error:
        raise ConfigurationError(f"key file `{path}`: {error}") from None


def save(path: Path, sealed: Sealed) -> None:
    """Write a sealed key to a file that did not exist, whole or not at all, mode 0600, and make it durable.

    Raises:
        ConfigurationError: the file exists, or cannot be written.
    """
    write_new(path, sealed.to_json(), "key file")


def derive(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    """Return the key that a passphrase makes with this salt, at this cost."""
    size = crypto_aead_xchacha20poly1305_ietf_KEYBYTES
    return argon2id.kdf(size, passphrase, salt, opslimit=cost.ops, memlimit=cost.memory)
