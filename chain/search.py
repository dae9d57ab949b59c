"""Looking through requests for approval, page by page.

The law of this file: whoever goes on from page to page sees every request that was there when he began, and is told
while there is more. A cursor is good for the search that it was made in, and for no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from chain.approval import Approval, State
from chain.errors import InvalidRequestError

MAX_FOUND = 1_000
"""Requests on one page."""


class Search(NamedTuple):
    """Which requests are looked for.

    Attributes:
        state: only those that stand so now; None for any.
        in_review: only emergencies that nobody has signed off.
        page: where to go on, as the page before said; empty for the first.
        limit: requests on a page, 1 to `MAX_FOUND`.
    """

    state: State | None = None
    in_review: bool = False
    page: str = ""
    limit: int = MAX_FOUND

    def cursor(self, last: Approval) -> str:
        """Return where to go on after a request."""
        return f"{last.opened}.{self._filters}"

    @property
    def before(self) -> int | None:
        """Revision that opened the last request of the page before; None on the first page.

        Raises:
            InvalidRequestError: the cursor is not one of this search.
        """
        if not self.page:
            return None
        opened, _, filters = self.page.partition(".")
        if filters != self._filters or not (opened.isascii() and opened.isdecimal() and len(opened) <= 18):
            raise InvalidRequestError("a page token that was made for another search, or not by this service")
        return int(opened)

    @property
    def _filters(self) -> str:
        return f"{self.state or 'any'}.{'review' if self.in_review else 'all'}"


EVERY = Search()
"""The first page of all of them."""


class Found(NamedTuple):
    """One page of requests, newest first.

    Attributes:
        approvals: the requests.
        next: where the next page begins; empty where there is no more.
    """

    approvals: tuple[Approval, ...]
    next: str = ""


def find(newest_first: Iterable[Approval], search: Search, now: float) -> Found:
    """Return a page.

    Args:
        newest_first: every request that there is.
        search: which of them.
        now: seconds.

    Raises:
        InvalidRequestError: a cursor of another search, or a limit out of bounds.
    """
    if not 0 < search.limit <= MAX_FOUND:
        raise InvalidRequestError(f"a page is of 1 to {MAX_FOUND} requests")
    before = search.before
    standing = (one.at(now) for one in newest_first if before is None or one.opened < before)
    fitting = (one for one in standing if search.state in (None, one.state) and (one.in_review or not search.in_review))
    found = tuple(islice(fitting, search.limit + 1))
    shown = found[: search.limit]
    return Found(shown, search.cursor(shown[-1]) if len(found) > len(shown) else "")
