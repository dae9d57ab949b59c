"""Calls whose credential names a key that is being looked for.

The law of this file: a stranger's token can name a key as well as anybody's, so few wait, each for a bounded time, and
nothing else waits behind them.
"""

from __future__ import annotations

from asyncio import wrap_future
from contextlib import suppress

from chain.errors import UnreachableError
from chain.peer import NotYetError
from chain.service.waiting import Waiting

PATIENCE = 4.0
"""Seconds that a call waits for the key that its credential names; a client waits five, if it is not told otherwise."""

PLACES = 64
"""Calls that wait so; one more is refused at once."""


async def settle(error: NotYetError, unsettled: Waiting) -> None:
    """Wait until it is worth asking again who is calling, which says what is wrong if something still is.

    Args:
        error: what was said when it was asked first.
        unsettled: the calls that wait so.

    Raises:
        NotYetError: too many do.
    """
    if len(unsettled) >= PLACES:
        raise error
    with suppress(UnreachableError):  # not in time, or the server stops
        await unsettled.next(lambda: wrap_future(error.ready), None, PATIENCE)
