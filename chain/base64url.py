"""Base64url without padding (RFC 7515 s2), in its one canonical spelling."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")  # the plain alphabet's two characters become foreign

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LAST: tuple[frozenset[int], ...] = (
    frozenset(_ALPHABET),
    frozenset(),
    frozenset(_ALPHABET[::16]),
    frozenset(_ALPHABET[::4]),
)
"""Last characters that leave no stray bits, by length modulo 4; no text has length 1 modulo 4."""

_PADDING = (b"", b"", b"==", b"=")


def b64encode(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 s2)."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def b64decode(text: bytes) -> bytes:
    """Decode base64url, refusing every spelling but the canonical one.

    Raises:
        ValueError: padding, foreign characters or stray bits.
    """
    if not text:
        return b""
    left_over = len(text) & 3
    if text[-1] not in _LAST[left_over]:
        raise ValueError("not canonical base64url")
    try:
        return a2b_base64(text.translate(_FROM_URL) + _PADDING[left_over], strict_mode=True)
    except Error:
        raise ValueError("not canonical base64url") from None
