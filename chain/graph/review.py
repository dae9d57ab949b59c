"""The access review: what is granted and not needed, by nobody, for too long, or shared. Each finding with evidence.

The law of this file: a finding is a fact of records, and names them. What the ledger does not hold is no finding: it
keeps digests of arguments, so how far a constraint exceeds what was ever asked is told of money alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from msgspec import UnsetType

from chain.auditor import Row
from chain.given import Entry, Given
from chain.graph import reach
from chain.graph.forest import Forest
from chain.graph.rows import Made, answered
from chain.inquiry import ReviewAccess

UNUSED, BROAD, ORPHANED = "NHI5 unused", "NHI5 over-broad", "NHI1 orphaned"
OVERLONG, REUSE = "NHI7 overlong", "NHI9 reuse"
"""Findings, by the number of the OWASP Non-Human Identities Top 10 (2025) that each is an instance of."""

NORMS = ReviewAccess()
"""From when on something is a finding."""

MAX_NAMED = 10
"""Tools, and records of evidence, that one row names."""


Use: TypeAlias = Mapping[str, Entry]
"""What was done under a delegation, or under anything beneath it: tool -> the last call of it, the latest first."""


@answered
def review(forest: Forest, norms: ReviewAccess = NORMS) -> Iterator[Made]:
    """Every finding about what stands, one kind after the other.

    Args:
        forest: what stands.
        norms: from when on something is a finding.
    """
    used = _uses(forest)
    broad: list[Made] = []
    latest = forest.now - norms.idle
    long: list[Made] = []
    for name, one in forest.live.items():
        use, granted = used.get(name), one.granted
        idle = one.iat <= latest
        if idle and (use is None or not granted.keys() <= use.keys()):
            yield partial(_unused, forest, one, use)
        many = use is not None and len(granted) > norms.times * len(use)
        if many or "budget" in one.limits or not all(granted.values()):
            broad += _broad(forest, one, use if idle else None, norms)
        if (made := _overlong(forest, one, use, norms)) is not None:
            long.append(made)
    yield from broad
    first = {name: one for one in reversed(forest.live.values()) for name in one.names}
    yield from _orphaned(forest, first)
    yield from long
    yield from _shared(forest, first)
    yield from _borrowed(forest)


def _uses(forest: Forest) -> Mapping[str, Use]:
    """Return what was done under each delegation that was used, by its id.

    From the latest call back: where its tool is known, a later call made it known there and all the way up. To walk up
    from every call, which meets a root as often as its whole tree is used, took three times as long.
    """
    found: dict[str, dict[str, Entry]] = {}
    given = forest.history.given
    for entry in reversed(forest.history.decided):
        body = entry.body
        if body["effect"] != "ALLOW":
            continue
        at, tool = given.get(body.get("leaf", "")), body["tool"]
        while at is not None:
            use = found.get(at.id)
            if use is None:
                found[at.id] = {tool: entry}
            elif tool in use:
                break
            else:
                use[tool] = entry
            at = at.above
    return found


def _last(use: Use) -> Entry:
    return next(iter(use.values()))


def _finding(
    forest: Forest,
    one: Given,
    kind: str,
    detail: str,
    names: Collection[str] = (),
    evidence: Collection[Entry] = (),
) -> Row:
    """Return a finding.

    Args:
        forest: what stands.
        one: about which delegation.
        kind: which.
        detail: in words, with `{}` where `names` stand.
        names: of tools, callers or identities.
        evidence: records beside the delegation's own.
    """
    records = sorted({one.entry.revision, *(entry.revision for entry in evidence)})
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    listed = ", ".join(f"`{name}`" for name in sorted(names)[:MAX_NAMED]) + more
    said = {"finding": kind, "detail": detail.replace("{}", listed), "evidence": records[-MAX_NAMED:]}
    return forest.row(one) | said


def _unused(forest: Forest, one: Given, use: Use | None) -> Row:
    if use is None:
        return _finding(forest, one, UNUSED, "no call was ever allowed under it: {}", one.granted)
    never = one.granted.keys() - use.keys()
    return _finding(forest, one, UNUSED, "never called: {}", never, use.values())


def _broad(forest: Forest, one: Given, use: Use | None, norms: ReviewAccess) -> list[Made]:
    """Too many tools and too much money for what was used; and open arguments, where they were first left open."""
    found: list[Made] = []
    if not all(one.granted.values()):
        before = () if one.above is None else one.above.ajar
        tools = forest.history.tools
        ajar = [tool for tool in one.ajar if tool not in before and not _reads(tools.get(tool))]
        known = [tools[tool] for tool in ajar if tool in tools]
        detail = "any arguments of {}, not known to only read"
        found += [partial(_finding, forest, one, BROAD, detail, ajar, known)] if ajar else []
    if use is None:
        return found
    if len(one.granted) > norms.times * len(use):
        detail = f"{len(one.granted)} tools are granted and {len(use)} used"
        found.append(partial(_finding, forest, one, BROAD, detail, (), use.values()))
    if "budget" in one.limits and (detail := _unspent(forest, one, norms)):
        found.append(partial(_finding, forest, one, BROAD, detail, (), [_last(use)]))
    return found


def _reads(decision: Entry | None) -> bool:
    return decision is not None and decision.body["class"] == "read"


def _unspent(forest: Forest, one: Given, norms: ReviewAccess) -> str:
    limits, spent = reach.limits_of(one), forest.spent.get(one.id)
    if limits is None or isinstance(limits.budget, UnsetType) or isinstance(limits.budget.amount, UnsetType):
        return ""
    ceiling = limits.budget.amount
    if spent is None or float(ceiling.value) <= norms.times * float(spent.amount):
        return ""
    return f"{ceiling.value} {ceiling.currency} are granted and {spent.amount:f} spent"


def _orphaned(forest: Forest, first: Mapping[str, Given]) -> Iterator[Made]:
    history = forest.history
    nobody = {name: why for name in first if (why := _nobody(forest, name))}
    for one in forest.live.values():
        if one.holder in nobody:
            detail, names = nobody[one.holder]
            yield partial(_finding, forest, one, ORPHANED, detail, names, _known(forest, one.holder))
        if one.above is not None:
            continue
        owner = str(one.facts.get("owner", ""))
        if not owner:
            yield partial(_finding, forest, one, ORPHANED, "nobody answers for it")
        elif owner.startswith("spiffe://") and not any(_stands(forest, key) for key in history.roster.keys_of(owner)):
            yield partial(_finding, forest, one, ORPHANED, "who answers for it is gone: {}", [owner])
    if not history.suspended:
        return
    for given, one in history.given.items():
        if given in forest.live or one.exp <= forest.now:
            continue
        end = history.end(one, forest.now)
        if end is not None and end.reason == "suspended" and end.of != one.id:
            by = [entry for entry in history.suspended.values() if entry.revision == end.revision]
            yield partial(_finding, forest, one, ORPHANED, "the holder of what it was made from is suspended", (), by)


def _nobody(forest: Forest, holder: str) -> tuple[str, list[str]] | None:
    """Return why nobody stands behind a holder, with the names in it."""
    who = forest.history.roster.principal(holder)
    if who is None:
        return "nobody enrolled its holder", []
    if who.under is not None and not _stands(forest, who.under):
        return "it works under {}, which nobody enrolled, or all that it holds was revoked", [who.under]
    return None


def _stands(forest: Forest, key: str) -> bool:
    return key in forest.history.enrolled and ("holder", key) not in forest.history.struck


def _known(forest: Forest, holder: str) -> list[Entry]:
    found = forest.history.enrolled.get(holder)
    return [] if found is None else [found]


def _overlong(forest: Forest, one: Given, use: Use | None, norms: ReviewAccess) -> Made | None:
    life = one.exp - one.iat
    if life > norms.life:
        return partial(_finding, forest, one, OVERLONG, f"lives {life} s, above {norms.life:.0f} s")
    if use is None:
        return None
    last = _last(use).seconds
    if forest.now - last < norms.idle or life <= norms.times * max(last - one.iat, 1):
        return None
    return partial(_outlived, forest, one, use)


def _outlived(forest: Forest, one: Given, use: Use) -> Row:
    last = _last(use)
    needed = max(last.seconds - one.iat, 0)
    detail = f"lives {one.exp - one.iat} s, and was last used after {needed:.0f} s"
    return _finding(forest, one, OVERLONG, detail, (), [last])


def _shared(forest: Forest, first: Mapping[str, Given]) -> Iterator[Made]:
    """One key of several identities, one identity of several keys.

    Args:
        forest: what stands.
        first: name of a holder -> the first that it holds.
    """
    borne = {key: dict(ids) for key, ids in forest.history.borne.items() if key in first}
    for one in forest.live.values():
        if one.bound and one.bound != one.holder:
            borne.setdefault(one.holder, {}).setdefault(one.bound, one.entry)
    keys: dict[str, list[str]] = {}
    for key, ids in borne.items():
        keys.setdefault(forest.called(first[key]), []).append(key)
        if len(ids) > 1:
            yield partial(_finding, forest, first[key], REUSE, "one key is that of {}", ids, ids.values())
    for name, ones in keys.items():
        if len(ones) > 1:
            entries = [entry for key in ones for entry in borne[key].values()]
            detail = f"{{}} holds delegations by {len(ones)} keys at once"
            yield partial(_finding, forest, first[ones[0]], REUSE, detail, [name], entries)


def _borrowed(forest: Forest) -> Iterator[Made]:
    """One key by which several callers delegate."""
    made: dict[tuple[str, str], Given] = {}
    for one in forest.live.values():
        if one.entry.kind == "delegated":
            made.setdefault((one.signer, str(one.entry.body.get("caller", ""))), one)
    callers: dict[str, dict[str, Given]] = {}
    for (signer, caller), one in made.items():
        callers.setdefault(signer, {})[caller] = one
    for by in callers.values():
        if len(by) > 1:
            one = next(iter(by.values()))
            giver = one if one.above is None else one.above
            entries = [child.entry for child in by.values()]
            yield partial(_finding, forest, giver, REUSE, "one key delegates for the callers {}", by, entries)
