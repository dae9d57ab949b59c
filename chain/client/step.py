"""`step`: what a tool that takes long calls between its steps, so that it stops when its chain dies.

The law of this file: a step is taken only where somebody can tell that the chain stands. Nothing is interrupted: a
tool stops where it calls this, because nobody else knows where it may stop without leaving half of something behind.
"""

from __future__ import annotations

import asyncio
import time

from chain.client.session import AsyncSession, active, refusal
from chain.reason import Reason


def step() -> None:
    """Return where the active session's chain still stands; with ``watch=True`` without asking anybody.

    Raises:
        DeniedError: it does not, nobody can tell (`Reason.WATCH_LOST`), no session is active, or it is asynchronous
            and not watched: `astep` asks for those. Its text is safe to show to a model.
    """
    session = active()
    if session is None:
        raise refusal(Reason.SESSION_MISSING, "no session is active", time.time())
    if not isinstance(session, AsyncSession):
        session.step()
    elif not session.looked():
        raise refusal(Reason.SESSION_MISSING, "an asynchronous session that is not watched: await `astep`", time.time())


async def astep() -> None:
    """As `step`, for coroutines, under either kind of session."""
    session = active()
    if session is None:
        raise refusal(Reason.SESSION_MISSING, "no session is active", time.time())
    if isinstance(session, AsyncSession):
        await session.step()
    elif not session.looked():
        await asyncio.to_thread(session.step)  # its door may block
