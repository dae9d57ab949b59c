"""Private keys in files: one JSON Web Key a file, one file an agent or issuer (RFC 7517, RFC 8037).

The law of this file: a key that others may read is no key. A file is made with mode 0600 and never over another;
one that group or world may touch is refused, and so is one whose public half is not its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from chain import privatekey
from chain.base64url import b64encode
from chain.errors import ConfigurationError
from chain.identity.folder import write_new
from chain.key import Algorithm, KeySigner
from chain.privatekey import PrivateJwk, p256

MAX_FILE = 16 * 1024
"""Bytes of a key file: a private JWK has about 200, and a wrong path may name anything."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def generate(algorithm: Algorithm = "EdDSA", entropy: Callable[[int], bytes] = os.urandom) -> PrivateJwk:
    """Return a fresh private key.

    Args:
        algorithm: EdDSA (Ed25519) or ES256 (P-256).
        entropy: gives that many unguessable bytes.
    """
    secret = entropy(32)
    if algorithm == "EdDSA":
        public = KeySigner.from_seed(secret).key.jwk
        return PrivateJwk(kty="OKP", crv="Ed25519", x=public.x, d=b64encode(secret))
    while not 0 < int.from_bytes(secret, "big") < _P256_ORDER:  # FIPS 186-5 A.2.2, testing candidates
        secret = entropy(32)
    public = KeySigner(p256(secret)).key.jwk
    return PrivateJwk(kty="EC", crv="P-256", x=public.x, y=public.y, d=b64encode(secret))


def save(path: Path, private: PrivateJwk) -> None:
    """Write a key to a file that did not exist, whole or not at all, readable by its owner alone; make it durable.

    Raises:
        ConfigurationError: the file exists, or cannot be written.
    """
    write_new(path, msgspec.json.encode(private) + b"\n", "key file")


def load(path: Path) -> KeySigner:
    """Return what signs with the key in a file.

    Raises:
        ConfigurationError: no such file, readable by others, or not a private JWK of an accepted type.
    """
    return parse(path, read_private(path))[1]


def parse(path: Path, data: bytes) -> tuple[PrivateJwk, KeySigner]:
    """Return the key that a file holds in the clear, and what signs with it.

    Args:
        path: of the file, for the message.
        data: its bytes.

    Raises:
        ConfigurationError: not a private JWK of an accepted type.
    """
    try:
        return privatekey.read(data)
    except ValueError as error:
        raise ConfigurationError(f"key file `{path}`: not a private key that is accepted: {error}") from None


def read_private(path: Path, what: str = "key file", others: int = _OTHERS) -> bytes:
    """Return the bytes of a file that only its owner may use.

    Args:
        path: of a regular file of at most `MAX_FILE` bytes.
        what: it is, for the message.
        others: the bits of its mode that must not be set.

    Raises:
        ConfigurationError: no such file, readable by others, or too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO in its place must not hang
        with os.fdopen(handle, "rb") as file:
            _require_private(path, os.fstat(file.fileno()), what, others)
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{what} `{path}`: {_why(error)}") from None
    if len(data) > MAX_FILE:
        raise ConfigurationError(f"{what} `{path}`: more than {MAX_FILE} bytes")
    return data


def _require_private(path: Path, status: os.stat_result, what: str, others: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{what} `{path}`: not a regular file")
    if status.st_mode & others:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigurationError(f"{what} `{path}`: others may use it (mode {mode:04o}); make it 0600")


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
