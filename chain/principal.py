"""Who is who: SPIFFE-style ids, kinds, owners, and what enrolment says of a key.

The law of this file: who a holder is comes from enrolment, never from a delegator's claim. A key that nobody
enrolled is nobody. An agent that enrols workers under itself stays one party with them: same owner, same trust
domain.
"""

from __future__ import annotations

import re
from datetime import date
from functools import cached_property
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

Kind: TypeAlias = Literal["human", "agent", "service"]

SCHEME = "spiffe://"
"""What every SPIFFE id starts with."""

MAX_ID = 2048
"""Bytes of a SPIFFE id (SPIFFE-ID s2.3)."""

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


def parse_id(text: str) -> tuple[str, str]:
    """Take a SPIFFE id apart, strictly (SPIFFE-ID s2).

    Returns:
        Trust domain, and path with its leading slash.

    Raises:
        ValueError: another scheme, a foreign character, an empty, `.` or `..` segment, no path, or too long.
    """
    scheme, separator, rest = text.partition("://")
    if scheme != "spiffe" or not separator or len(text.encode()) > MAX_ID:
        raise ValueError("not a SPIFFE id")
    domain, slash, path = rest.partition("/")
    segments = path.split("/")
    if not _TRUST_DOMAIN.fullmatch(domain) or not slash:
        raise ValueError("a SPIFFE id needs a lower-case trust domain and a path")
    if any(segment in (".", "..") or not _SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError("a SPIFFE id's path has an empty, relative or foreign segment")
    return domain, "/" + path


def is_trust_domain(text: str) -> bool:
    """Tell whether a text can be the name of a trust domain (SPIFFE-ID s2.1)."""
    return _TRUST_DOMAIN.fullmatch(text) is not None


def ancestors(name: str) -> list[str]:
    """Return the ids that a principal's own lies beneath, nearest first, and its trust domain's last.

    Raises:
        ValueError: `name` is no SPIFFE id.
    """
    floor = len("spiffe://") + len(parse_id(name)[0])
    found = []
    name = name.rpartition("/")[0]
    while len(name) >= floor:
        found.append(name)
        name = name.rpartition("/")[0] if len(name) > floor else ""
    return found


def covers(pattern: str, name: str) -> bool:
    """Tell whether an id is one of those that a pattern means.

    Args:
        pattern: an id; or one that ends in ``/*``, for ids with one segment more, or in ``/**``, for one or more.
        name: an id, which need not be strict: no pattern means one that is not.
    """
    head, slash, last = pattern.rpartition("/")
    if last not in {"*", "**"}:
        return pattern == name
    rest = name.removeprefix(head + slash)
    try:
        parse_id(name)
    except ValueError:
        return False
    return rest != name and (last == "**" or "/" not in rest)


def require_pattern(pattern: str) -> None:
    """Return where a text is a pattern that `covers` understands.

    Raises:
        ValueError: no strict SPIFFE id, or a star anywhere but as its last segment.
    """
    head, _, last = pattern.rpartition("/")
    parse_id(f"{head}/any" if last in {"*", "**"} else pattern)


class Principal(BaseModel):
    """An enrolled key's owner-side facts.

    Attributes:
        id: SPIFFE-style id; its trust domain is the principal's.
        kind: human, agent or service.
        owner: the accountable person or team.
        under: thumbprint of the agent that enrolled this worker, if one did.
        review: the day by which its owner looks again whether it is still needed, `YYYY-MM-DD`; None where nobody said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: Kind = "agent"
    owner: str = Field(min_length=1, max_length=256)
    under: str | None = None
    review: str | None = None

    @field_validator("id")
    @classmethod
    def _strict_id(cls, value: str) -> str:
        parse_id(value)
        return value

    @field_validator("review")
    @classmethod
    def _a_day(cls, value: str | None) -> str | None:
        try:
            if value is None or date.fromisoformat(value).isoformat() == value:
                return value
        except ValueError:
            pass
        raise ValueError("a review is on a day, YYYY-MM-DD")

    @cached_property
    def trust_domain(self) -> str:
        """The id's own trust domain."""
        return parse_id(self.id)[0]

    def may_enrol(self, worker: Principal, thumbprint: str) -> bool:
        """Tell whether this agent, holding the key `thumbprint`, may enrol `worker` under itself."""
        below = worker.id.startswith(self.id + "/")
        return below and worker.under == thumbprint and worker.owner == self.owner and worker.kind != "human"
