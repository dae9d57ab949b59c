"""An issuer's key in the transit engine of Vault or OpenBao, which certifies the keys that sign.

The law of this file: the token goes to one address, over TLS that is verified or to this machine, and follows no
redirection. It is read from its file for every call and not kept. One version of the key is used from start to end, and
a signature that does not verify under it is refused.
"""

from __future__ import annotations

import http.client
import ssl
from base64 import b64decode as standard_decode
from base64 import b64encode as standard_encode
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from chain.base64url import b64decode
from chain.errors import ConfigurationError, SignerError
from chain.identity import passphrase
from chain.key import Algorithm, KeyRefusedError, PublicKey
from chain.loopback import is_loopback

TIMEOUT: Final = 10.0
"""Seconds for one answer; nobody but the thread that renews waits for it."""

MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer: a key of many versions has some kilobytes."""

_KINDS: Final[dict[str, Algorithm]] = {"ecdsa-p256": "ES256", "ed25519": "EdDSA"}
_TRIAL: Final = b"chain: does this key sign?"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key lies.

    Attributes:
        address: https://host:port; plain http to this machine alone, where an agent listens.
        key: its name.
        token_file: file with a token that may read the key and sign with it, mode 0600.
        mount: path of the engine.
        namespace: of the engine; empty for none.
        ca_file: PEM file of the authorities that its certificate is verified by; None takes the system's.
    """

    address: str
    key: str
    token_file: Path
    mount: str = "transit"
    namespace: str = ""
    ca_file: Path | None = None

    def __str__(self) -> str:
        return f"key `{self.key}` of `{self.mount}` at {self.address}"


class _Version(msgspec.Struct, frozen=True):
    public_key: str


class _Key(msgspec.Struct, frozen=True):
    type: str
    latest_version: int
    keys: dict[str, _Version]
    exportable: bool
    allow_plaintext_backup: bool
    supports_signing: bool
    derived: bool


class _Signed(msgspec.Struct, frozen=True):
    signature: str


class _Read(msgspec.Struct, frozen=True):
    data: _Key


class _Answered(msgspec.Struct, frozen=True):
    data: _Signed


class VaultSigner:
    """A private key that stays in Vault (`chain.key.Signer`).

    Attributes:
        key: the public half of the version that was the latest at the start.
    """

    __slots__ = ("_context", "_place", "_version", "key")

    def __init__(self, place: Place) -> None:
        """Read the public half, and prove by a trial that the private one belongs to it.

        Args:
            place: where the key lies.

        Raises:
            ConfigurationError: it cannot be reached, does not let the token in, or the key is not accepted.
        """
        self._place = place
        self._context = _context(place)
        try:
            told = _decoded(self._ask("GET", f"keys/{quote(place.key, safe='')}"), _Read, place).data
            self._version = told.latest_version
            self.key = _accepted(told, place)
            self._sign(_TRIAL)
        except SignerError as error:
            raise ConfigurationError(error.detail) from None

    def sign(self, data: bytes) -> bytes:
        """Return the raw JWS signature over `data`, verified.

        Raises:
            SignerError: Vault does not answer, refuses, or signs with another key; or its token cannot be read.
        """
        try:
            return self._sign(data)
        except ConfigurationError as error:
            raise SignerError(error.detail) from None

    def __repr__(self) -> str:
        return f"VaultSigner({self.key.thumbprint})"

    def _sign(self, data: bytes) -> bytes:
        asked = {"input": standard_encode(data).decode(), "key_version": self._version}
        if self.key.alg == "ES256":
            asked |= {"hash_algorithm": "sha2-256", "marshaling_algorithm": "jws"}
        answer = self._ask("POST", f"sign/{quote(self._place.key, safe='')}", msgspec.json.encode(asked))
        prefix, text = f"vault:v{self._version}:", _decoded(answer, _Answered, self._place).data.signature
        if not text.startswith(prefix):
            raise SignerError(f"{self._place} signed with another version than {self._version}")
        try:
            body = text.removeprefix(prefix).encode()
            found = b64decode(body) if self.key.alg == "ES256" else standard_decode(body, validate=True)
        except ValueError:
            raise SignerError(f"{self._place} gave a signature of an unknown form") from None
        if not self.key.verify(found, data):
            raise SignerError(f"{self._place} gave a signature that its public half does not verify")
        return found

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        place, where = self._place, urlsplit(self._place.address)
        headers = {"X-Vault-Token": _token(place), "X-Vault-Request": "true"}
        headers |= {"X-Vault-Namespace": place.namespace} if place.namespace else {}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        connection: http.client.HTTPConnection
        if self._context is None:
            connection = http.client.HTTPConnection(where.netloc, timeout=TIMEOUT)
        else:
            connection = http.client.HTTPSConnection(where.netloc, timeout=TIMEOUT, context=self._context)
        try:
            connection.request(method, f"/v1/{quote(place.mount)}/{path}", body, headers)
            answer = connection.getresponse()
            data = answer.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise SignerError(f"{place} does not answer: {type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status != http.client.OK:  # what it says may repeat what it was asked
            raise SignerError(f"{place} answers {answer.status}")
        if len(data) > MAX_ANSWER:
            raise SignerError(f"{place} answers more than {MAX_ANSWER} bytes")
        return data


def _context(place: Place) -> ssl.SSLContext | None:
    """Return how the server is verified; None for plain HTTP to this machine.

    Raises:
        ConfigurationError: not an address, or one that the token would reach in the clear.
    """
    where = urlsplit(place.address)
    if where.scheme not in {"http", "https"} or not where.hostname or where.username or where.path.strip("/"):
        raise ConfigurationError(f"`{place.address}` is not https://host:port")
    if where.scheme == "http":
        if not is_loopback(where.hostname):
            raise ConfigurationError(f"`{place.address}`: without TLS the token would cross the network in the clear")
        return None
    try:
        return ssl.create_default_context(cafile=place.ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(f"`{place.ca_file}` holds no certificates") from None


def _token(place: Place) -> str:
    """Return the token in its file.

    Raises:
        ConfigurationError: no such file, others may read it, or no token.
    """
    found = passphrase.read(place.token_file, what="Vault token")
    if not found.isascii() or not found.decode("ascii").isprintable():
        raise ConfigurationError(f"Vault token file `{place.token_file}`: not a token")
    return found.decode("ascii")


def _decoded(data: bytes, kind: type[T], place: Place) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):
        raise SignerError(f"{place} answers in an unknown form") from None


def _accepted(told: _Key, place: Place) -> PublicKey:
    """Return the public half of a key that Vault keeps.

    Raises:
        ConfigurationError: Vault would give it away, or it is of a kind that is not accepted.
    """
    if told.exportable or told.allow_plaintext_backup:
        raise ConfigurationError(f"{place} can be taken out: it is exportable, or has allow_plaintext_backup")
    algorithm = _KINDS.get(told.type)
    version = told.keys.get(str(told.latest_version))
    if algorithm is None or not told.supports_signing or told.derived or version is None:
        raise ConfigurationError(f"{place} is no ecdsa-p256 or ed25519 key that signs")
    try:
        if algorithm == "EdDSA":
            return PublicKey("EdDSA", standard_decode(version.public_key, validate=True))
        found = load_pem_public_key(version.public_key.encode())
    except (ValueError, KeyRefusedError) as error:
        raise ConfigurationError(f"{place}: its public half is not accepted: {type(error).__name__}") from None
    if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, ec.SECP256R1):
        raise ConfigurationError(f"{place} is no P-256 key")
    numbers = found.public_numbers()
    return PublicKey("ES256", numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"))
