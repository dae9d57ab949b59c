"""What differs: between two delegations, and between two instants.

The law of this file: two grants are compared by the one attenuation rule, asked both ways (`Grant.excess`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from chain.auditor import Row
from chain.errors import NotFoundError
from chain.given import Given
from chain.graph.forest import Forest
from chain.graph.lineage import status
from chain.graph.rows import Made, answered


def between(forest: Forest, first: Given, second: Given) -> list[Row]:
    """In what two delegations differ: what `a` and what `b` gives or says.

    Raises:
        NotFoundError: what one of them grants cannot be read.
    """
    if first.grant is None or second.grant is None:
        raise NotFoundError("what one of them grants is not in this record, or cannot be read")
    records = {"record": first.entry.revision, "other": second.entry.revision}
    one, two = (forest.row(given) | status(forest, given) for given in (first, second))
    facts = ("agent", "key", "hop", "from", "task", "for", "until", "status")
    found = [records | {"what": name, "a": one[name], "b": two[name]} for name in facts if one[name] != two[name]]
    beyond = {
        excess.field: (excess.subject, excess.child, excess.parent) for excess in first.grant.excess(second.grant)
    }
    for excess in second.grant.excess(first.grant):
        beyond.setdefault(excess.field, (excess.subject, excess.parent, excess.child))
    return found + [records | {"what": what, "a": a, "b": b} for what, a, b in beyond.values()]


@answered
def since(before: Forest, after: Forest) -> Iterator[Made]:
    """What appeared and what fell from one instant to a later one, with the record that shows it."""
    for one in after.live.values():
        if one.id not in before.live:
            yield partial(_appeared, after, one)
    for one in before.live.values():
        if one.id not in after.live:
            yield partial(_fell, after, one.id)


def _appeared(after: Forest, one: Given) -> Row:
    return after.row(one) | {"change": "appeared", "why": one.entry.kind, "ended": 0}


def _fell(after: Forest, name: str) -> Row:
    one = after.history.given[name]
    end = status(after, one)
    why = f"{end['status']}: {end['why']}" if end["why"] else str(end["status"])
    return after.row(one) | {"change": "fell", "why": why, "ended": end["ended"]}
