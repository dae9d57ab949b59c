"""Where a delegation comes from and what came of it; and what falls with it.

The law of this file: what fell is told with why and by which record; what stands is told as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from chain.auditor import Row, narrowed
from chain.given import Asked, Given
from chain.graph import reach
from chain.graph.forest import Forest
from chain.graph.rows import Made, answered


@answered
def lineage(forest: Forest, name: str) -> Iterator[Made]:
    """Up and down: from the root to what is named, then everything beneath it.

    Args:
        forest: what stands.
        name: as in `Forest.starts`; of an agent or a key, all that it holds and signed.

    Raises:
        NotFoundError: nothing is called so.
        InvalidRequestError: several begin like this.
    """
    starts = {one.id: one for one in forest.starts(name)}
    above = {hop.id: hop for one in starts.values() for hop in one.chain if hop.id not in starts}
    for one in above.values():
        yield partial(told, forest, one, "above")
    for one in starts.values():
        yield partial(told, forest, one, "itself")
    seen, queue = {*starts, *above}, list(starts.values())
    for one in queue:
        queue += [child for child in one.below if child.id not in starts]
        if one.id not in seen:
            seen.add(one.id)
            yield partial(told, forest, one, "beneath")


def told(forest: Forest, one: Given, place: str) -> Row:
    """Return a delegation as its lineage tells it."""
    return forest.row(one) | {"place": place, "narrowed": narrowed(one)} | status(forest, one)


def status(forest: Forest, one: Given) -> Row:
    """Return how a delegation stands: `status`, and for one that does not `ended` (the record) and `why`."""
    if one.id in forest.live:
        return {"status": "stands", "ended": 0, "why": ""}
    end = forest.history.end(one, forest.now)
    if end is None:  # not told by any record that this ledger holds
        return {"status": "unknown", "ended": 0, "why": "what it was made from does not stand"}
    return {"status": end.reason, "ended": end.revision, "why": end.cause}


@answered
def blast(forest: Forest, name: str) -> Iterator[Made]:
    """What falls if something is revoked, and what a thief of it could do.

    Args:
        forest: what stands.
        name: a delegation; an agent or a key: all that it holds, and of a key all that it signed.

    Yields:
        Rows of what is lost, each with `what` it is: first `tool` (a thief can call it, as it is granted), then
        `agent` (loses some or all that it holds), `budget` and `approval`, then every `delegation`.

    Raises:
        NotFoundError: nothing is called so.
        InvalidRequestError: several delegations begin like this.
    """
    starts = [one for one in forest.starts(name) if one.id in forest.live]
    falls = {one.id: one for one in forest.below(starts)}
    yield from _tools(forest, starts, name)
    yield from _agents(forest, falls)
    yield from _purses(forest, falls)
    yield from _asked(forest, falls)
    for one in falls.values():
        yield partial(_delegation, forest, one)


def _lost(forest: Forest, one: Given, what: str, name: str, detail: str) -> Row:
    return forest.row(one) | {"what": what, "name": name, "detail": detail}


def _delegation(forest: Forest, one: Given) -> Row:
    return _lost(forest, one, "delegation", one.id, ", ".join(one.tools))


def _tools(forest: Forest, starts: list[Given], name: str) -> Iterator[Made]:
    """A thief of a key calls what it holds; what it only signed, others hold."""
    for one in forest.of(name) or [one for one in starts if name not in one.signers]:
        for tool in one.tools:
            yield partial(_tool, forest, one, tool)


def _tool(forest: Forest, one: Given, tool: str) -> Row:
    rules = one.rules(tool) or {}
    detail = "; ".join(f"{key}: {rule}" for key, rule in rules.items()) or "any arguments"
    return _lost(forest, one, "tool", tool, detail)


def _agents(forest: Forest, falls: dict[str, Given]) -> Iterator[Made]:
    lost: dict[str, list[Given]] = {}
    for one in falls.values():
        lost.setdefault(forest.called(one), []).append(one)
    for agent, ones in lost.items():
        every = len(forest.agents[agent])
        detail = f"loses {'all' if len(ones) == every else len(ones)} of {every}"
        yield partial(_lost, forest, ones[0], "agent", agent, detail)


def _purses(forest: Forest, falls: dict[str, Given]) -> Iterator[Made]:
    for one in falls.values():
        if "budget" in one.limits and (words := reach.left(forest, one)):
            yield partial(_lost, forest, one, "budget", one.id, "; ".join(words))


def _asked(forest: Forest, falls: dict[str, Given]) -> Iterator[Made]:
    """Requests for approval that wait, or were approved and not used: whoever holds the leaf asked."""
    if not forest.history.asked:
        return
    holders = {(one.holder, one.chain[0].id): one for one in falls.values()}
    for asked in forest.history.asked.values():
        body = asked.entry.body
        one = holders.get((body.get("holder", ""), body.get("root", "")))
        if one is not None and _open(asked, forest.now):
            yield partial(_waiting, forest, one, asked)


def _waiting(forest: Forest, one: Given, asked: Asked) -> Row:
    body = asked.entry.body
    what = f"{body['tool']} {body.get('amount', '')}".strip()
    return _lost(forest, one, "approval", body["id"], what) | {"record": asked.entry.revision}


def _open(asked: Asked, now: float) -> bool:
    refused = any(word.body.get("state") == "denied" for word in asked.words)
    return not asked.uses and not refused and asked.entry.body.get("expires", 0) > now
