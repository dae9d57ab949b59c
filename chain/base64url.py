"""Base64url without padding (RFC 7515 s2), in its one canonical spelling."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode


def b64encode(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 s2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def b64decode(text: bytes) -> bytes:
    """Decode base64url, refusing every spelling but the canonical one.

    Raises:
        ValueError: padding, foreign characters or stray bits.
    """
    try:
        data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        raise ValueError("not base64url") from None
    if urlsafe_b64encode(data).rstrip(b"=") != text:
        raise ValueError("not canonical base64url")
    return data
