"""BatchCheck: many questions in one call, in order, without keeping others waiting.

The law of this file: an item that is not well formed is an error of its own, and the batch goes on; each chain is
resolved once, also where it is refused; and the loop is never held for longer than a slice, however large the batch.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from chain.authority import Authority
from chain.decision import Effect
from chain.desk import Presented
from chain.errors import ChainError, InvalidRequestError
from chain.service.gate import Call
from chain.service.settled import settled
from chain.v1 import authorization_pb2 as pb
from chain.wire.asking import LATEST, Asking, chain_from, check_from
from chain.wire.decision import decision_to
from chain.wire.status import item_error_to

MAX_ITEMS = 1_000
"""Items of one batch."""

CHUNK = 100
"""Items decided in one commit, at most: a commit's price is shared by enough."""

SLICE = 0.005
"""Seconds of work between two turns of the loop: what a check of somebody else may wait for a batch."""

STOP: dict[int, Effect | None] = {
    pb.BATCH_SEMANTIC_UNSPECIFIED: None,
    pb.BATCH_SEMANTIC_EXECUTE_ALL: None,
    pb.BATCH_SEMANTIC_DENY_ON_FIRST_DENY: Effect.DENY,
    pb.BATCH_SEMANTIC_PERMIT_ON_FIRST_PERMIT: Effect.ALLOW,
}


class Batch:
    """One batch on its way to its reply."""

    def __init__(self, authority: Authority, message: pb.BatchCheckRequest, call: Call) -> None:
        """Prepare to answer.

        Raises:
            InvalidRequestError: too many items, or a semantic that is not known.
        """
        if len(message.items) > MAX_ITEMS:
            raise InvalidRequestError(f"{len(message.items)} items in one batch, more than {MAX_ITEMS}")
        if message.semantic not in STOP:
            raise InvalidRequestError("a batch semantic that is not known")
        self._authority = authority
        self._message = message
        self._call = call
        self._stop = STOP[message.semantic]
        self._shared: Presented | None = chain_from(message.chain) if message.HasField("chain") else None
        self._chains = authority.chains()
        self._reply = pb.BatchCheckResponse()
        self._asked: list[Asking] = []
        self._chunk = CHUNK
        self._since = perf_counter()

    async def answer(self) -> pb.BatchCheckResponse:
        """Decide the items in order, until the semantic says enough."""
        for item in self._message.items:
            try:
                asking = check_from(item, self._call.caller, self._shared, trace=self._call.trace)
            except ChainError as error:
                if await self._decide() or self._refuse(error):
                    return self._reply
                continue
            asking = asking._replace(at_least=self._open(asking.at_least))
            apart = bool(self._asked) and self._asked[0].at_least != asking.at_least
            if (apart or len(self._asked) >= self._chunk) and await self._decide():
                return self._reply
            self._chains.resolve(asking.presented)
            self._asked.append(asking)
            await self._breathe()
        await self._decide()
        return self._reply

    async def _decide(self) -> bool:
        """Decide what was gathered, in one commit; tell whether that is enough."""
        asked, self._asked = self._asked, []
        if not asked:
            return False
        calls = [(asking.presented, asking.request) for asking in asked]
        await self._breathe(SLICE / 2)
        began = perf_counter()
        future = self._authority.begin_check(self._call.caller, calls, asked[0].at_least, self._stop, self._chains)
        spent = perf_counter() - began
        self._chunk = max(1, min(CHUNK, 2 * len(asked), int(len(asked) * SLICE / max(spent, 1e-6))))
        decisions = await settled(future)
        for decision in decisions:
            self._call.note(decision)
            self._reply.results.add(decision=decision_to(decision))
        await self._breathe()
        return bool(decisions) and self._stop is not None and decisions[-1].effect is self._stop

    def _refuse(self, error: ChainError) -> bool:
        """Answer an item that could not be decided; tell whether that is enough: an error counts as a denial."""
        self._reply.results.add(error=item_error_to(error))
        return self._stop is Effect.DENY

    def _open(self, at_least: int) -> int:
        """Return `LATEST` for a revision that is reached already: it never decides between items."""
        return LATEST if at_least <= self._authority.revision else at_least

    async def _breathe(self, after: float = SLICE) -> None:
        """Let others have their turn, where this batch has had its own."""
        if perf_counter() - self._since >= after:
            await asyncio.sleep(0)
            self._since = perf_counter()
