"""The forms of a custody's files: one data key under a passphrase, and the agents' keys under the data key.

The law of this file: nothing is taken from a file before its seal has held. The data key is sealed as an issuer's key
is (`chain.identity.sealed`), so that a guess of the passphrase costs as much; an agent's key is sealed with the data
key, so that ten thousand of them open in one start. Every byte is authenticated: the agent's id and the public half as
the seal's associated data, the file as a whole by having one spelling. No file stands for another agent's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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
from chain.identity.sealed import Cost, derive, require_passphrase
from chain.key import Jwk, KeySigner, PublicKey
from chain.privatekey import PrivateJwk


class DataKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data key as it stands in its file; all but `box` is the associated data."""

    custody: Literal[1]
    kdf: Literal["argon2id"]
    ops: int
    memory: int
    salt: str
    aead: Literal["xchacha20-poly1305"]
    nonce: str
    box: str = ""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An agent's key as it stands in its file; all but `box` is the associated data.

    Attributes:
        kept: version of this form.
        agent: SPIFFE id.
        aead, nonce: XChaCha20-Poly1305 and its nonce.
        jwk: the public half, readable without the data key and not to be believed before the seal held.
        box: the private JWK, encrypted.
    """

    kept: Literal[1]
    agent: str
    aead: Literal["xchacha20-poly1305"]
    nonce: str
    jwk: Jwk
    box: str = ""


_data_key = msgspec.json.Decoder(DataKey).decode
_kept = msgspec.json.Decoder(Kept).decode
_private = msgspec.json.Decoder(PrivateJwk).decode


def new_data_key(
    passphrase: bytes, cost: Cost, entropy: Callable[[int], bytes] = os.urandom
) -> tuple[bytes, bytes]:  # fmt: skip
    """Return a fresh data key, and its file's bytes.

    Args:
        passphrase: at least `sealed.MIN_PASSPHRASE` bytes.
        cost: of each guess.
        entropy: gives that many unguessable bytes.

    Raises:
        ConfigurationError: the passphrase is too short.
        ValueError: the cost is out of bounds.
    """
    require_passphrase(passphrase)
    cost.require()
    key = entropy(crypto_aead_xchacha20poly1305_ietf_KEYBYTES)
    salt, nonce = entropy(argon2id.SALTBYTES), entropy(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)
    made = DataKey(1, "argon2id", cost.ops, cost.memory, b64encode(salt), "xchacha20-poly1305", b64encode(nonce))
    box = crypto_aead_xchacha20poly1305_ietf_encrypt(key, _header(made), nonce, derive(passphrase, salt, cost))
    return key, _spelled(msgspec.structs.replace(made, box=b64encode(box)))


def open_data_key(data: bytes, passphrase: bytes) -> bytes:
    """Return the data key that a file holds.

    Raises:
        ValueError: not a data key in its one spelling, a cost out of bounds, or the seal does not hold.
    """
    try:
        found = _data_key(data)
        salt, nonce, box = (b64decode(part.encode()) for part in (found.salt, found.nonce, found.box))
    except ValueError:
        raise ValueError("not the data key of a custody") from None
    if data != _spelled(found) or len(salt) != argon2id.SALTBYTES:
        raise ValueError("not a data key in its one spelling")
    cost = Cost(found.ops, found.memory)
    cost.require()
    try:
        key = crypto_aead_xchacha20poly1305_ietf_decrypt(box, _header(found), nonce, derive(passphrase, salt, cost))
    except (CryptoError, TypeError):  # TypeError: a nonce of another length
        raise ValueError("wrong passphrase, or the file was changed") from None
    return bytes(key)


def keep(agent: str, private: PrivateJwk, key: bytes, entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return the bytes of an agent's file.

    Args:
        agent: SPIFFE id.
        private: its key.
        key: the data key.
        entropy: gives that many unguessable bytes.
    """
    nonce = entropy(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)
    made = Kept(1, agent, "xchacha20-poly1305", b64encode(nonce), private.signer().key.jwk)
    box = crypto_aead_xchacha20poly1305_ietf_encrypt(msgspec.json.encode(private), _header(made), nonce, key)
    return _spelled(msgspec.structs.replace(made, box=b64encode(box)))


def take(data: bytes, key: bytes) -> tuple[str, KeySigner]:
    """Return whose key a file holds, and what signs with it.

    Args:
        data: the file's bytes.
        key: the data key.

    Raises:
        ValueError: not an agent's key in its one spelling, or the seal does not hold.
    """
    try:
        found = _kept(data)
        nonce, box = (b64decode(part.encode()) for part in (found.nonce, found.box))
    except ValueError:
        raise ValueError("not an agent's key") from None
    if data != _spelled(found):
        raise ValueError("not an agent's key in its one spelling")
    try:
        signer = _private(crypto_aead_xchacha20poly1305_ietf_decrypt(box, _header(found), nonce, key)).signer()
    except (CryptoError, ValueError, TypeError):
        raise ValueError("sealed with another data key, or the file was changed") from None
    if signer.key != PublicKey.from_jwk(found.jwk):
        raise ValueError("holds another key than it names")
    return found.agent, signer


def _header(made: DataKey | Kept) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(made, box=""))


def _spelled(made: DataKey | Kept) -> bytes:
    return msgspec.json.encode(made) + b"\n"
