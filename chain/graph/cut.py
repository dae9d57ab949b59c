"""The least set of revocations that stops an agent from doing something, while named work goes on.

The law of this file: the answer is least, and not by search. A delegation has one parent, so whatever may be revoked
(nothing that is kept lies at or beneath it) is closed downwards. Every way to the tool has a topmost delegation that
may be revoked; ways with the same one can share a revocation, and ways with different ones cannot. So there are as many
revocations as topmost ones, and each is set as low as still stops all its ways: what falls besides is least, too.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from chain.auditor import Row
from chain.errors import NotFoundError
from chain.given import Given
from chain.graph.forest import Forest
from chain.graph.reach import Arguments, ways
from chain.inquiry import Work
from chain.principal import SCHEME


class Word(NamedTuple):
    """One revocation by name that does the same as the whole set.

    Attributes:
        kind, name: of the revocation (`chain.control.Named`).
        falls: what it fells.
    """

    kind: str
    name: str
    falls: tuple[Given, ...]


class Cut(NamedTuple):
    """What stops somebody.

    Attributes:
        ways: every delegation under which it could.
        revoke: the least set; of those ways alone that can be stopped.
        blocked: ways that cannot be stopped, each with a delegation of kept work that would fall with it.
        words: revocations by name, any of which stops all ways alone and fells no kept work.
    """

    ways: tuple[Given, ...]
    revoke: tuple[Given, ...]
    blocked: tuple[tuple[Given, Given], ...]
    words: tuple[Word, ...]


def least(forest: Forest, stopped: Work, keep: Iterable[Work] = (), arguments: Arguments | None = None) -> Cut:
    """Return the least set of revocations.

    Args:
        forest: what stands.
        stopped: who is to be stopped from what.
        keep: work that goes on: every delegation under which it is possible now stays.
        arguments: only calls with just these are to be stopped.

    Raises:
        NotFoundError: nobody is called so; or work that is to be kept cannot be done now.
    """
    forest.require(stopped.agent)
    found = _mine(forest, stopped, arguments)
    barred: dict[str, Given] = {}
    for work in keep:
        kept = _mine(forest, work)
        if not kept:
            raise NotFoundError(
                f"`{work.agent[:256]}` cannot call `{work.tool[:256]}` now, so there is nothing to keep"
            )
        for one in kept:
            for hop in one.chain:
                barred.setdefault(hop.id, one)
    groups: dict[int, list[Given]] = {}
    for one in found:
        if one.id not in barred:
            groups.setdefault(id(_topmost(one, barred)), []).append(one)
    blocked = tuple((one, barred[one.id]) for one in found if one.id in barred)
    words = () if blocked else tuple(sorted(_words(forest, found, barred), key=lambda word: len(word.falls)))
    return Cut(tuple(found), tuple(map(lowest, groups.values())), blocked, words)


def _mine(forest: Forest, work: Work, arguments: Arguments | None = None) -> list[Given]:
    """Return the delegations under which somebody can do some work, in the order of their records.

    Only what it holds is asked about, and what that hangs on: all that stands would be most of the question's time.
    """
    held = forest.of(work.agent)
    mine = {one.id for one in held}
    hops = dict.fromkeys(hop.id for one in held for hop in one.chain)
    able = ways(forest, work.tool, arguments, (forest.live[name] for name in hops))
    found = [one for one in able if one.id in mine]
    return sorted(found, key=lambda one: one.entry.revision)


def _topmost(one: Given, barred: dict[str, Given]) -> Given:
    while one.above is not None and one.above.id not in barred:
        one = one.above
    return one


def lowest(ones: Sequence[Given]) -> Given:
    """Return the lowest delegation at or above all of these, which lie in one tree.

    Raises:
        ValueError: they do not.
    """
    common = ones[0].chain
    for other in ones[1:]:
        common = [hop for hop, theirs in zip(common, other.chain, strict=False) if hop is theirs]
    if not common:
        raise ValueError("the delegations lie in different trees")
    return common[-1]


def _words(forest: Forest, found: Sequence[Given], barred: dict[str, Given]) -> Iterator[Word]:
    """Yield single names that fell every way and nothing that is kept."""
    if not found:
        return
    seen: set[frozenset[str]] = set()
    for kind, name in dict.fromkeys(_named(forest, found[0])):
        starts = _starts(forest, kind, name)
        ids = frozenset(one.id for one in starts)
        if ids not in seen and ids.isdisjoint(barred) and all(_hangs(one, ids) for one in found):
            seen.add(ids)
            yield Word(kind, name, tuple(forest.below(starts)))


def _hangs(one: Given | None, ids: AbstractSet[str]) -> bool:
    """Tell whether a delegation is one of these, or was made beneath one of them."""
    while one is not None and one.id not in ids:
        one = one.above
    return one is not None


def _named(forest: Forest, one: Given) -> Iterator[tuple[str, str]]:
    for hop in one.chain[::-1]:
        for holder in hop.names:
            for principal in forest.history.roster.line(holder):
                yield "holder", principal.id
            yield "holder", holder
        yield from (strike for strike in forest.history.names(hop) if strike[0] != "holder" and strike[1])


def _starts(forest: Forest, kind: str, name: str) -> list[Given]:
    """Return what a revocation by name fells by itself, as `chain.steering` understands the name."""
    if kind == "key":
        return forest.signed.get(name, [])
    if kind == "task":
        return forest.tasks.get(name, [])
    if kind == "issuer":
        return [one for one in forest.live.values() if one.above is None and one.issuer == name]
    roster = forest.history.roster
    meant = roster.bearing({name}) if name.startswith(SCHEME) else roster.with_workers([name])
    return [one for holder in sorted({name, *meant}) for one in forest.held.get(holder, ())]


def rows(forest: Forest, cut: Cut) -> list[Row]:
    """Return a cut as rows; `do` is `cannot` (`kept` hinders), `revoke` (all of these), `or` (one of these instead)."""
    told: list[Row] = []
    for way, kept in cut.blocked:
        words = {"do": "cannot", "name": way.id, "stops": 0, "falls": 0, "command": ""}
        told.append(forest.row(way) | words | {"kept": kept.id, "kept_record": kept.entry.revision})
    stops = Counter(id(hop) for way in cut.ways for hop in way.chain)
    for one in cut.revoke:
        falls = sum(1 for _ in forest.below([one]))
        words = {"do": "revoke", "name": one.id, "stops": stops[id(one)], "falls": falls}
        told.append(forest.row(one) | words | {"command": f"chain revoke {shlex.quote(one.id)}"})
    for word in cut.words:
        option = {"key": "signing-key"}.get(word.kind, word.kind)
        words = {"do": "or", "name": word.name, "stops": len(cut.ways), "falls": len(word.falls)}
        words |= {"agent": "", "key": "", "command": f"chain revoke --{option}={shlex.quote(word.name)}"}
        told.append(forest.row(word.falls[0]) | words)
    return told
