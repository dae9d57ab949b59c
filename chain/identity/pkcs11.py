"""An issuer's key in a hardware security module, reached through PKCS#11 (OASIS PKCS#11 v3.1); extra `pkcs11`.

The law of this file: a private key that its token would give away is refused, and so is a signature that does not
verify under the key that was read at the start. The PIN is read when a session is opened and is not kept; one that was
refused is never tried again, nor is a token's last try ever spent, because what a token locks it locks for everybody.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, PKCS11Error, TokenFlag
from pkcs11 import exceptions as rv

from chain.errors import ConfigurationError, SignerError
from chain.identity import passphrase
from chain.key import Algorithm, KeyRefusedError, PublicKey

if TYPE_CHECKING:
    from pkcs11 import _pkcs11

P256: Final = bytes.fromhex("06082a8648ce3d030107")
"""CKA_EC_PARAMS: OID 1.2.840.10045.3.1.7."""

ED25519: Final = bytes.fromhex("06032b6570")
"""CKA_EC_PARAMS: OID 1.3.101.112."""

CURVES: Final[dict[bytes, Algorithm]] = {P256: "ES256", ED25519: "EdDSA", b"\x13\x0cedwards25519": "EdDSA"}
"""CKA_EC_PARAMS -> algorithm; the last is the other form of PKCS#11 v3.1 s6.3.3."""

PATIENCE: Final = 1.0
"""Seconds that who ends waits for a token that is busy: one that hangs must not keep a server from ending."""

_SIGNS: Final[dict[Algorithm, Mechanism]] = {"ES256": Mechanism.ECDSA, "EdDSA": Mechanism.EDDSA}
_TRIAL: Final = b"chain: does this key sign?"
_WRONG_PIN: Final = (
    rv.PinExpired,
    rv.PinIncorrect,
    rv.PinInvalid,
    rv.PinLenRange,
    rv.PinLocked,
    rv.UserPinNotInitialized,
)

_ALONE: Final = threading.RLock()
"""A module is one for its whole process: who initialises it anew ends every session of every signer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key lies.

    Attributes:
        module: the vendor's shared library, an absolute path.
        token: label of the token.
        pin_file: file with the user's PIN, mode 0600.
        label: CKA_LABEL of the key.
        key_id: CKA_ID of the key, beside the label or in its place.
    """

    module: Path
    token: str
    pin_file: Path
    label: str | None = None
    key_id: bytes | None = None

    def __str__(self) -> str:
        names = [] if self.label is None else [f"`{self.label}`"]
        names += [] if self.key_id is None else [f"id {self.key_id.hex()}"]
        return f"key {', '.join(names)} of token `{self.token}`"


class PinError(ConfigurationError):
    """The token refused the PIN, or would be locked by one more that is wrong."""


class Pkcs11Signer:
    """A private key that stays in its token (`chain.key.Signer`). Threads may share it; it signs for one at a time.

    Attributes:
        key: the public half.
    """

    __slots__ = ("_pin", "_place", "_private", "_session", "key")

    def __init__(self, place: Place) -> None:
        """Open the token, read the public half and prove by a trial that the private one belongs to it.

        Args:
            place: where the key lies.

        Raises:
            ConfigurationError: no such module, token or key, a PIN that is refused, or a key that is not accepted.
        """
        self._place = place
        self._pin: PinError | None = None
        self._session: pkcs11.Session | None = None
        self._private: Any = None  # what it can do depends on its attributes, which no type tells
        with _ALONE:
            try:
                self.key = self._open()
                self._sign(_TRIAL)
            except SignerError as error:
                self.close()
                raise ConfigurationError(error.detail) from None
            except BaseException:
                self.close()
                raise

    def sign(self, data: bytes) -> bytes:
        """Return the raw JWS signature over `data`, verified; a session that was lost is opened again.

        Raises:
            SignerError: the token does not sign, or it now holds another key.
        """
        with _ALONE:
            if self._private is not None:
                with suppress(SignerError):
                    return self._sign(data)
            try:
                self._reopen()
                return self._sign(data)
            except ConfigurationError as error:
                self.close()
                raise SignerError(error.detail) from None

    def close(self) -> None:
        """End the session; one in which a token hangs is left to the end of the process."""
        if not _ALONE.acquire(timeout=PATIENCE):
            return
        try:
            session, self._session, self._private = self._session, None, None
            if session is not None:
                with suppress(PKCS11Error):  # the token may be gone
                    session.close()
        finally:
            _ALONE.release()

    def __repr__(self) -> str:
        return f"Pkcs11Signer({self.key.thumbprint})"

    def _sign(self, data: bytes) -> bytes:
        given = sha256(data).digest() if self.key.alg == "ES256" else data  # CKM_ECDSA signs a digest, as r || s
        try:
            found = bytes(self._private.sign(given, mechanism=_SIGNS[self.key.alg]))
        except PKCS11Error as error:
            raise SignerError(f"{self._place} does not sign: {type(error).__name__}") from None
        if not self.key.verify(found, data):
            raise SignerError(f"{self._place} gave a signature that its public half does not verify")
        return found

    def _reopen(self) -> None:
        self.close()
        if self._pin is not None:
            raise self._pin
        try:
            key = self._open()
        except PinError:
            raise
        except ConfigurationError:
            with suppress(RuntimeError):  # a token that was taken out and put back is seen by a fresh module only
                _module(self._place).reinitialize()
            key = self._open()
        if key != self.key:
            raise ConfigurationError(f"{self._place} is another key than at the start")

    def _open(self) -> PublicKey:
        """Log in, find the key and return its public half."""
        place = self._place
        try:
            token = _token(place)
            self._session = _login(token, place)
            self._private = _one(self._session, ObjectClass.PRIVATE_KEY, place)
            algorithm = _require_kept(self._private, place)
            if _SIGNS[algorithm] not in token.slot.get_mechanisms():
                raise ConfigurationError(f"{place}: the token offers no CKM_{_SIGNS[algorithm].name}")
            return _public(self._session, self._private, algorithm, place)
        except PinError as error:
            self._pin = error
            raise
        except PKCS11Error as error:
            raise ConfigurationError(f"{place}: {type(error).__name__}") from None


def generate(place: Place, algorithm: Algorithm = "ES256") -> PublicKey:
    """Make a key pair in a token, one that will not leave it.

    Args:
        place: where it is to lie, with a label and an id that no key of the token has.
        algorithm: ES256, or EdDSA where the token offers it.

    Returns:
        The public half.

    Raises:
        ConfigurationError: the token refuses, or a key of that name is there.
    """
    if place.label is None or place.key_id is None:
        raise ConfigurationError("a key that is made needs a label and an id")
    p256 = algorithm == "ES256"
    with _ALONE:
        try:
            with _login(_token(place), place, rw=True) as session:
                if list(session.get_objects(_named(ObjectClass.PRIVATE_KEY, place))):
                    raise ConfigurationError(f"{place} is there already")
                curve = session.create_domain_parameters(
                    KeyType.EC if p256 else KeyType.EC_EDWARDS,
                    {Attribute.EC_PARAMS: P256 if p256 else ED25519},
                    local=True,
                )
                curve.generate_keypair(
                    store=True,
                    label=place.label,
                    id=place.key_id,
                    mechanism=Mechanism.EC_KEY_PAIR_GEN if p256 else Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                    private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
                )
        except PKCS11Error as error:
            raise ConfigurationError(f"{place} was not made: {type(error).__name__}") from None
        made = Pkcs11Signer(place)
        made.close()
        return made.key


def _module(place: Place) -> _pkcs11.lib:
    if not place.module.is_absolute():
        raise ConfigurationError(f"the PKCS#11 module `{place.module}` is not an absolute path")
    try:
        return pkcs11.lib(str(place.module))
    except RuntimeError:  # PKCS11Error is one; what a loader says names more paths than the one that matters
        raise ConfigurationError(f"the PKCS#11 module `{place.module}` cannot be loaded") from None


def _token(place: Place) -> pkcs11.Token:
    found = list(_module(place).get_tokens(token_label=place.token))
    if len(found) != 1:
        raise ConfigurationError(f"the PKCS#11 module has {len(found) or 'no'} tokens labelled `{place.token}`")
    return found[0]


def _login(token: pkcs11.Token, place: Place, *, rw: bool = False) -> pkcs11.Session:
    if token.flags & (TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED):
        raise PinError(f"token `{place.token}` is locked, or is after one more wrong PIN: log in by hand")
    try:
        pin = passphrase.read(place.pin_file, what="PIN").decode()
    except UnicodeDecodeError:
        raise PinError(f"PIN file `{place.pin_file}`: not UTF-8") from None
    try:
        return token.open(rw=rw, user_pin=pin)
    except rv.UserAlreadyLoggedIn:  # in another session of this process; the login is the process's
        return token.open(rw=rw)
    except _WRONG_PIN as error:
        why = type(error).__name__
        raise PinError(
            f"token `{place.token}` refused the PIN in `{place.pin_file}` and is not asked again: {why}"
        ) from None


def _named(kind: ObjectClass, place: Place) -> dict[Attribute, Any]:
    named: dict[Attribute, Any] = {Attribute.CLASS: kind, Attribute.TOKEN: True}
    named |= {} if place.label is None else {Attribute.LABEL: place.label}
    return named | ({} if place.key_id is None else {Attribute.ID: place.key_id})


def _one(session: pkcs11.Session, kind: ObjectClass, place: Place) -> Any:  # noqa: ANN401 - of the class that was asked
    if place.label is None and place.key_id is None:
        raise ConfigurationError("a key in a token is named by its label, its id or both")
    found = list(session.get_objects(_named(kind, place)))
    if len(found) != 1:
        half = "private" if kind is ObjectClass.PRIVATE_KEY else "public"
        raise ConfigurationError(f"{place}: {len(found) or 'no'} {half} keys of that name")
    return found[0]


def _require_kept(private: pkcs11.PrivateKey, place: Place) -> Algorithm:
    """Return the algorithm of a private key that its token keeps; what a token does not tell counts against it."""
    told = private.get_attributes(
        [
            Attribute.SENSITIVE,
            Attribute.EXTRACTABLE,
            Attribute.SIGN,
            Attribute.ALWAYS_AUTHENTICATE,
            Attribute.EC_PARAMS,
        ]
    )
    if told.get(Attribute.SENSITIVE) is not True or told.get(Attribute.EXTRACTABLE) is not False:
        raise ConfigurationError(f"{place} can be taken out: it is not CKA_SENSITIVE, or it is CKA_EXTRACTABLE")
    if told.get(Attribute.SIGN) is not True:
        raise ConfigurationError(f"{place} may not sign: it is not CKA_SIGN")
    if told.get(Attribute.ALWAYS_AUTHENTICATE):
        raise ConfigurationError(f"{place} wants its PIN for every signature: it is CKA_ALWAYS_AUTHENTICATE")
    algorithm = CURVES.get(bytes(told.get(Attribute.EC_PARAMS, b"")))
    if algorithm is None:
        raise ConfigurationError(f"{place} is neither a P-256 nor an Ed25519 key")
    return algorithm


def _public(session: pkcs11.Session, private: pkcs11.PrivateKey, algorithm: Algorithm, place: Place) -> PublicKey:
    """Return the public half, which lies beside the private one and bears the same id."""
    beside = Place(place.module, place.token, place.pin_file, place.label, bytes(private[Attribute.ID]))
    point = bytes(_one(session, ObjectClass.PUBLIC_KEY, beside)[Attribute.EC_POINT])
    bare = 65 if algorithm == "ES256" else 32
    if point[:2] == bytes((0x04, bare)) and len(point) == bare + 2:  # an OCTET STRING; some tokens give it bare
        point = point[2:]
    if len(point) != bare or (algorithm == "ES256" and point[0] != 0x04):
        raise ConfigurationError(f"{place}: its public half has an unknown form")
    try:
        return PublicKey(algorithm, point[1:] if algorithm == "ES256" else point)
    except KeyRefusedError as error:
        raise ConfigurationError(f"{place}: {error}") from None
