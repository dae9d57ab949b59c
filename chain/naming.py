"""Names of what is stopped or revoked: what can be one, and what can never match.

The law of this file: a name that matches nothing stops nothing, and whoever said it believes that something stopped.
So what cannot be a name of its kind is refused, with what would be one.
"""

from __future__ import annotations

from typing import cast, get_args

from chain.base64url import b64decode
from chain.control import EVERYTHING, Named, Scope, Strike
from chain.errors import InvalidRequestError
from chain.principal import SCHEME, is_trust_domain, parse_id

MAX_NAME = 2048
"""Characters of what is suspended or revoked by name."""

_DIGEST = 32

_SHAPES = {
    "agent": "an agent is named by its SPIFFE id, `spiffe://DOMAIN/PATH`, or by its key's thumbprint, 43 characters",
    "trust_domain": "a trust domain is named in lower-case letters, digits, `.`, `-` and `_`, without `spiffe://`",
    "task": "a task's name neither begins nor ends with white space, and has no control characters",
    "tool": "a tool's name neither begins nor ends with white space, and has no control characters",
}


def scoped(scope: str, name: str) -> tuple[Scope, str]:
    """Return the scope and name of what stands stopped, however it is written.

    Raises:
        InvalidRequestError: a scope that is not known, or no name.
    """
    if scope not in get_args(Scope):
        raise InvalidRequestError(f"a scope is one of {', '.join(get_args(Scope))}")
    if scope == "everything":
        return "everything", EVERYTHING
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidRequestError(f"a {scope} is named by 1 to {MAX_NAME} characters")
    return cast("Scope", scope), name


def stoppable(scope: str, name: str) -> tuple[Scope, str]:
    """Return the scope and name of what is to be stopped, where there can be such a thing.

    Raises:
        InvalidRequestError: there cannot, and what a name of this scope looks like.
    """
    named = scoped(scope, name)
    if not _possible(*named):
        raise InvalidRequestError(_SHAPES[scope])
    return named


def require(named: Named) -> None:
    """Return where something can be revoked by this name.

    Raises:
        InvalidRequestError: it cannot.
    """
    if named.kind not in get_args(Strike):
        raise InvalidRequestError(f"a kind of name is one of {', '.join(get_args(Strike))}")
    if not 0 < len(named.name) <= MAX_NAME:
        raise InvalidRequestError(f"a name has 1 to {MAX_NAME} characters")
    keyed = named.kind == "key" or (named.kind == "holder" and not is_id(named.name))
    if keyed and not _is_thumbprint(named.name):
        raise InvalidRequestError(f"a {named.kind} is named by the thumbprint of its key, 43 characters")


def is_id(name: str) -> bool:
    """Tell whether a name says that it is a principal's id, and not a key's thumbprint."""
    return name.startswith(SCHEME)


def _possible(scope: Scope, name: str) -> bool:
    if scope == "agent":
        return _is_strict(name) if is_id(name) else _is_thumbprint(name)
    if scope == "trust_domain":
        return is_trust_domain(name)
    return scope == "everything" or (name == name.strip() and not any(map(_controls, name)))


def _is_strict(name: str) -> bool:
    try:
        parse_id(name)
    except ValueError:
        return False
    return True


def _is_thumbprint(name: str) -> bool:
    try:
        return len(b64decode(name.encode())) == _DIGEST
    except ValueError:
        return False


def _controls(character: str) -> bool:
    """Tell whether a character is a control character (C0, DEL, C1)."""
    return character < " " or "\x7f" <= character <= "\x9f"
