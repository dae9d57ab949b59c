"""JOSE compact serialisation, strictly (RFC 7515, TOKEN.md s5).

The law of this file: nothing is lenient. Base64url is canonical or refused, headers are strict JSON without
`crit`, the algorithm is the verifying key's own. Payloads stay undecoded until the signature holds. Nothing is
ever keyed on token text: a token's identity is the SHA-256 of its signing input.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from chain import jcs
from chain.base64url import b64decode, b64encode
from chain.key import PublicKey, Signer


class JoseError(ValueError):
    """The bytes are not what the strict layer accepts; the message says what is wrong."""


class AlgorithmError(JoseError):
    """An algorithm is not the one of the verifying key's type."""


class HeaderError(JoseError):
    """A header carries `crit` or an unexpected `typ`."""


class Header(msgspec.Struct, frozen=True, gc=False):
    """A JOSE header. Other members are ignored; `crit` is refused, since nothing critical is understood.

    Attributes:
        chain_certificate: of the key that signed (`chain.certificate`).
    """

    alg: str
    typ: str | UnsetType = UNSET
    kid: str | UnsetType = UNSET
    crit: msgspec.Raw | UnsetType = UNSET
    chain_certificate: str | UnsetType = UNSET


_decode_header = msgspec.json.Decoder(Header).decode


class Frame(NamedTuple):
    """A compact JWS taken apart, not yet trusted.

    Attributes:
        header: the strict header.
        payload: the payload's bytes; what they mean is not asked until the signature holds.
        signature: raw signature bytes.
        signing_input: what the signature covers.
    """

    header: Header
    payload: bytes
    signature: bytes
    signing_input: bytes

    def signed_by(self, key: PublicKey) -> bool:
        """Tell whether the signature is `key`'s.

        Raises:
            AlgorithmError: the header's `alg` is not the one of the key's type.
        """
        if self.header.alg != key.alg:
            raise AlgorithmError(f"`{self.header.alg[:16]}` where the key verifies {key.alg}")
        return key.verify(self.signature, self.signing_input)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signing input: the token's identity."""
        return sha256(self.signing_input).digest()


@lru_cache(maxsize=512)
def _header(encoded: bytes) -> Header:
    try:
        data = b64decode(encoded)
        header = _decode_header(data)
        jcs.refuse_duplicates(data)
    except (ValueError, RecursionError) as error:
        raise JoseError(f"header: {error}") from None
    if header.crit is not UNSET:
        raise HeaderError("header: `crit` is not understood")
    return header


def split(token: str) -> Frame:
    """Take a compact JWS apart (RFC 7515 s3.1).

    Raises:
        JoseError: not three canonical parts, or a header that is not accepted.
    """
    try:
        data = token.encode("ascii")
    except UnicodeEncodeError:
        raise JoseError("not ASCII") from None
    signing_input, _, signature = data.rpartition(b".")
    header, dot, payload = signing_input.partition(b".")
    if not dot or b"." in payload:
        raise JoseError("not three parts")
    try:
        return Frame(_header(header), b64decode(payload), b64decode(signature), signing_input)
    except JoseError:
        raise
    except ValueError as error:
        raise JoseError(str(error)) from None


def join(header: dict[str, Any], payload: bytes, signer: Signer) -> str:
    """Sign a payload and return the compact JWS; `alg` is the signer's."""
    encoded = b64encode(msgspec.json.encode({"alg": signer.key.alg, **header}))
    signing_input = f"{encoded}.{b64encode(payload)}"
    return f"{signing_input}.{b64encode(signer.sign(signing_input.encode()))}"
