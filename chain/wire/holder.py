"""Who is to hold a token: keys, SPIFFE ids and certificates, to the wire and back."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from chain.base64url import b64decode, b64encode
from chain.claims import Confirmation, Holder
from chain.errors import InvalidRequestError
from chain.key import KeyRefusedError, PublicKey
from chain.v1 import delegation_pb2


def jwk_from(data: bytes) -> PublicKey:
    """Return a public key.

    Raises:
        InvalidRequestError: it is none that is accepted.
    """
    try:
        return PublicKey.from_json(data)
    except KeyRefusedError as error:
        raise InvalidRequestError(f"the key: {error}") from None


def holder_to(holder: Holder) -> dict[str, Any]:
    """Return the members of a message that say who is to hold a token."""
    cnf = Confirmation.of(holder)
    members: dict[str, Any] = {}
    if not isinstance(cnf.jwk, UnsetType):
        members["holder_jwk_json"] = msgspec.json.encode(cnf.jwk)
    if not isinstance(cnf.spiffe, UnsetType):
        members["holder_spiffe"] = cnf.spiffe
    if not isinstance(cnf.certificate, UnsetType):
        members["holder_certificate_sha256"] = b64decode(cnf.certificate.encode())
    return members


def holder_from(message: delegation_pb2.IssueRequest | delegation_pb2.UnsignedChild) -> Holder:
    """Return who is to hold a token.

    Raises:
        InvalidRequestError: nobody, or a key, an id or a certificate that is not accepted.
    """
    spiffe, certificate = message.holder_spiffe, message.holder_certificate_sha256
    if not spiffe and not certificate:
        return jwk_from(message.holder_jwk_json)
    jwk = jwk_from(message.holder_jwk_json).jwk if message.holder_jwk_json else UNSET
    try:
        return Confirmation(jwk, b64encode(certificate) if certificate else UNSET, spiffe or UNSET)
    except ValueError as error:
        raise InvalidRequestError(f"the holder: {error}") from None
