"""Enrolments, to the wire and back."""

from __future__ import annotations

from pydantic import ValidationError

from chain.errors import InvalidRequestError
from chain.key import PublicKey
from chain.principal import Kind, Principal
from chain.v1 import delegation_pb2
from chain.view import Enrolled
from chain.wire.asking import signed_text
from chain.wire.holder import jwk_from

_KIND_TO: dict[Kind, delegation_pb2.PrincipalKind.ValueType] = {
    "human": delegation_pb2.PRINCIPAL_KIND_HUMAN,
    "agent": delegation_pb2.PRINCIPAL_KIND_AGENT,
    "service": delegation_pb2.PRINCIPAL_KIND_SERVICE,
}
_KIND_FROM: dict[int, Kind] = {number: kind for kind, number in _KIND_TO.items()}


def enrol_to(
    holder: PublicKey | None, principal: Principal, key: str, proof: str | None = None
) -> delegation_pb2.EnrolRequest:
    """Return the message of a key to be enrolled, with that key's agreement where an agent asks."""
    return delegation_pb2.EnrolRequest(
        jwk_json=b"" if holder is None else holder.to_json().encode(),
        principal=principal.id,
        kind=_KIND_TO[principal.kind],
        owner=principal.owner,
        trust_domain=principal.trust_domain,
        under=principal.under or "",
        review=principal.review or "",
        idempotency_key=key,
        proof=(proof or "").encode(),
    )


def enrol_from(message: delegation_pb2.EnrolRequest) -> tuple[PublicKey | None, Principal]:
    """Return the key to be enrolled, or None for the id itself, and whose it is.

    Raises:
        InvalidRequestError: a key, an id or a kind that is not accepted.
    """
    kind = _KIND_FROM.get(message.kind)
    if kind is None:
        raise InvalidRequestError("a kind of principal that is not known")
    name = message.principal
    if not name.startswith("spiffe:"):
        name = f"spiffe://{message.trust_domain}/{name}"
    try:
        principal = Principal(
            id=name, kind=kind, owner=message.owner, under=message.under or None, review=message.review or None
        )
    except ValidationError as error:
        raise InvalidRequestError(f"the principal: {error.errors(include_input=False)[0]['msg']}") from None
    if message.trust_domain not in ("", principal.trust_domain):
        raise InvalidRequestError("the principal's id is of another trust domain")
    return jwk_from(message.jwk_json) if message.jwk_json else None, principal


def agreement_from(message: delegation_pb2.EnrolRequest) -> str | None:
    """Return what the key to be enrolled says to it, if anything."""
    return signed_text(message.proof) if message.proof else None


def own_key_to(key: PublicKey) -> delegation_pb2.GetOwnKeyResponse:
    """Return the message of a key that is kept for an agent."""
    return delegation_pb2.GetOwnKeyResponse(jwk_json=key.to_json().encode())


def own_key_from(message: delegation_pb2.GetOwnKeyResponse) -> PublicKey:
    """Return the key that is kept for this agent.

    Raises:
        ValueError: it is none that is accepted.
    """
    return PublicKey.from_json(message.jwk_json)


def enrolled_to(enrolled: Enrolled) -> delegation_pb2.EnrolResponse:
    """Return the message of a key that was enrolled."""
    return delegation_pb2.EnrolResponse(thumbprint=enrolled.holder, revision=enrolled.revision)


def enrolled_from(message: delegation_pb2.EnrolResponse, principal: Principal) -> Enrolled:
    """Return what was enrolled; `principal` is what was asked for."""
    return Enrolled(message.thumbprint, principal.id, message.revision)
