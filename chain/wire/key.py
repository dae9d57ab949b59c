"""The issuer's keys, to the wire and back.

The law of this file: public halves only. A state that is not known is an error, and never read as one that verifies.
"""

from __future__ import annotations

from typing import TypeAlias

from chain.base64url import b64encode
from chain.errors import InvalidRequestError
from chain.key import Algorithm, PublicKey
from chain.keyring import Held, State
from chain.keyview import Distrusted, Listed, Turned
from chain.v1 import key_pb2 as pb
from chain.wire.delegation import id_to

_STATES: dict[State, pb.KeyState.ValueType] = {
    "pending": pb.KEY_STATE_PENDING,
    "active": pb.KEY_STATE_ACTIVE,
    "retiring": pb.KEY_STATE_RETIRING,
    "retired": pb.KEY_STATE_RETIRED,
    "compromised": pb.KEY_STATE_COMPROMISED,
}
_STATE_OF: dict[int, State] = {number: state for state, number in _STATES.items()}

_ALGORITHMS: dict[str, pb.KeyAlgorithm.ValueType] = {
    "EdDSA": pb.KEY_ALGORITHM_EDDSA,
    "ES256": pb.KEY_ALGORITHM_ES256,
}
_ALGORITHM_OF: dict[int, Algorithm] = {
    pb.KEY_ALGORITHM_UNSPECIFIED: "EdDSA",
    pb.KEY_ALGORITHM_EDDSA: "EdDSA",
    pb.KEY_ALGORITHM_ES256: "ES256",
}

Changed: TypeAlias = pb.AddKeyResponse | pb.ActivateKeyResponse | pb.RetireKeyResponse


def add_to(algorithm: str, cause: str, key: str) -> pb.AddKeyRequest:
    """Return the message of a key to be made.

    Raises:
        InvalidRequestError: an algorithm that is not known.
    """
    if algorithm not in _ALGORITHMS:
        raise InvalidRequestError(f"an algorithm is one of {', '.join(_ALGORITHMS)}")
    return pb.AddKeyRequest(algorithm=_ALGORITHMS[algorithm], cause=cause, idempotency_key=key)


def algorithm_from(message: pb.AddKeyRequest) -> Algorithm:
    """Return what a key is to sign with: Ed25519, where nothing is said.

    Raises:
        InvalidRequestError: an algorithm that is not known.
    """
    found = _ALGORITHM_OF.get(message.algorithm)
    if found is None:
        raise InvalidRequestError("an algorithm that is not known")
    return found


def key_to(held: Held) -> pb.IssuerKey:
    """Return the message of a key."""
    key = held.key
    return pb.IssuerKey(
        thumbprint=key.thumbprint,
        jwk=key.to_json(),
        state=_STATES[held.state],
        since_seconds=held.since,
        until_seconds=held.until,
    )


def key_from(message: pb.IssuerKey) -> Held:
    """Return a key.

    Raises:
        ValueError: a state that is not known, or no public key of that name.
    """
    key, state = PublicKey.from_json(message.jwk), _STATE_OF.get(message.state)
    if state is None or key.thumbprint != message.thumbprint:
        raise ValueError("a key that is not understood")
    return Held(key.jwk, state, message.since_seconds, message.until_seconds)


def listed_to(listed: Listed) -> pb.ListKeysResponse:
    """Return the message of where each key stands."""
    return pb.ListKeysResponse(keys=map(key_to, listed.keys), signing=listed.signing, revision=listed.revision)


def listed_from(message: pb.ListKeysResponse) -> Listed:
    """Return where each key stands.

    Raises:
        ValueError: a key that is not understood.
    """
    return Listed(tuple(map(key_from, message.keys)), message.signing, message.revision)


def added_to(turned: Turned) -> pb.AddKeyResponse:
    """Return the message that a key was made."""
    return pb.AddKeyResponse(key=key_to(turned.key), signing=turned.signing, revision=turned.revision)


def activated_to(turned: Turned) -> pb.ActivateKeyResponse:
    """Return the message that a key signs."""
    return pb.ActivateKeyResponse(key=key_to(turned.key), signing=turned.signing, revision=turned.revision)


def retired_to(turned: Turned) -> pb.RetireKeyResponse:
    """Return the message that a key is gone."""
    return pb.RetireKeyResponse(key=key_to(turned.key), signing=turned.signing, revision=turned.revision)


def turned_from(message: Changed) -> Turned:
    """Return a key that stands otherwise now.

    Raises:
        ValueError: a key that is not understood.
    """
    return Turned(key_from(message.key), message.signing, message.revision)


def distrusted_to(told: Distrusted) -> pb.CompromiseKeyResponse:
    """Return the message that a key is trusted no more."""
    return pb.CompromiseKeyResponse(
        key=key_to(told.key),
        signing=told.signing,
        fallen=map(id_to, told.fallen),
        fallen_count=told.count,
        at_least=told.at_least,
        warnings=told.warnings,
        revision=told.revision,
    )


def distrusted_from(message: pb.CompromiseKeyResponse) -> Distrusted:
    """Return what fell with a key.

    Raises:
        ValueError: a key that is not understood.
    """
    return Distrusted(
        key_from(message.key),
        message.signing,
        message.revision,
        tuple(map(b64encode, message.fallen)),
        message.fallen_count,
        message.at_least,
        tuple(message.warnings),
    )
