"""Which instruction a task serves: a salted hash that a root binds and every call declares (TOKEN.md s2).

The law of this file: binding, and no more. It shows that a call declares the very instruction that started its task; it
does not show that the model still follows it. The instruction's text never travels, and the salt keeps a short one from
being guessed.
"""

from __future__ import annotations

from hashlib import sha256

from chain import jcs
from chain.base64url import b64encode
from chain.claims import Intent

ALGORITHM = "sha-256"
"""Of the digests made here: SHA-256 over the JCS of ``{"instruction": text, "salt": salt}``."""

SALT_BYTES = 16
"""Of a salt made from fresh entropy."""


def bind(instruction: str, salt: bytes) -> Intent:
    """Return the intent that a root binds.

    Args:
        instruction: what the human asked for, whole; equal only byte for byte.
        salt: fresh and unguessable, `SALT_BYTES` of it.

    Raises:
        ValueError: the instruction is empty, or no Unicode text.
    """
    text = b64encode(salt)
    return Intent(digest=_digest(instruction, text), alg=ALGORITHM, salt=text)


def declared(bound: Intent, instruction: str) -> str:
    """Return the digest that a call declares under a root that binds an instruction: equal where it is the same one.

    Args:
        bound: of the root; its salt stands in the token, open to whoever holds the chain.
        instruction: that the call serves.

    Raises:
        ValueError: the instruction is empty, or no Unicode text; or the root's digest was made in another way.
    """
    if bound.alg != ALGORITHM:
        raise ValueError(f"the root's digest is `{bound.alg}`, and not `{ALGORITHM}`")
    return _digest(instruction, bound.salt)


def matches(bound: Intent, instruction: str) -> bool:
    """Tell whether an intent is this instruction's, for whoever has both: an orchestrator, or an auditor."""
    try:
        return declared(bound, instruction) == bound.digest
    except ValueError:
        return False


def _digest(instruction: str, salt: str) -> str:
    if not instruction:
        raise ValueError("an empty instruction binds nothing")
    return b64encode(sha256(jcs.dumps({"instruction": instruction, "salt": salt})).digest())
