"""A finite world to try policies in: what rules mention, its neighbours, and one value that nobody mentions.

The law of this file: the world is a function of the rules, the same in every run. It is not every world: what no rule
compares by name or number is represented by a few values, and beyond a cap combinations are sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from itertools import combinations as pairs
from itertools import islice, product
from math import prod
from typing import Any, NamedTuple, TypeAlias

from chain.bundle import Rule
from chain.entity import CLASSES, PRINCIPAL, SENSITIVITIES, TOOL
from chain.policyfacts import MAX_DEPTH
from chain.tree import beneath

FRESH = "something-else"
"""A word that no rule mentions."""

PROMPT = "prompt"
"""The name here of a prompt's labels, which are not those of a principal."""

_COMPARING = frozenset(
    {"==", "!=", "<", "<=", ">", ">=", "in", "like", "contains", "containsAll", "containsAny",
     "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"}
)  # fmt: skip
"""Operators of Cedar's JSON form that hold a value against another."""

Literal: TypeAlias = str | int
Choice: TypeAlias = dict[str, Any]


class Mentioned(NamedTuple):
    """What rules mention.

    Attributes:
        read: names of attributes.
        values: attribute -> what it is compared with; `id` and `tool` hold entities that are named.
    """

    read: frozenset[str]
    values: Mapping[str, frozenset[Literal]]

    def words(self, name: str, *more: str) -> tuple[str, ...]:
        """Return texts that an attribute is compared with, behind `more`, and one that it is not."""
        found = sorted(value for value in self.values.get(name, ()) if isinstance(value, str))
        return tuple(dict.fromkeys((*more, *found, FRESH)))

    def sets(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Return sets of texts: none, each one, all together."""
        words = self.words(name)
        return ((), *((word,) for word in words), words)

    def numbers(self, name: str, *more: int, least: int = 0, most: int = 2**53 - 1) -> tuple[int, ...]:
        """Return numbers that an attribute is compared with, and their neighbours, behind `more`."""
        named = sorted(value for value in self.values.get(name, ()) if isinstance(value, int))
        near = (value + step for value in named for step in (-1, 0, 1))
        return tuple(dict.fromkeys(value for value in (*more, *near) if least <= value <= most))

    def amounts(self) -> tuple[str | None, ...]:
        """Return amounts that the amount is compared with, and their neighbours; None moves no money."""
        found: list[Decimal] = []
        for value in self.values.get("amount", ()):
            try:
                found.append(Decimal(str(value)))
            except InvalidOperation:
                continue
        step = Decimal("0.0001")
        near = (value + by for value in sorted(found) for by in (-step, Decimal(0), step))
        return (None, "1", *dict.fromkeys(f"{value:f}" for value in near if 0 <= value < Decimal(10) ** 14))


def mentioned(rules: Iterable[Rule]) -> Mentioned:
    """Return what rules mention."""
    read: set[str] = set()
    values: dict[str, set[Literal]] = {}
    for rule in rules:
        heads = [rule.body["principal"], rule.body["resource"]]
        conditions = rule.body["conditions"]
        read |= _walk(conditions)[0]
        compared = (_walk({name: value}) for _, name, value in beneath(conditions) if name in _COMPARING)
        for names, found in (*map(_walk, heads), *compared):
            read |= names
            for name in names:
                values.setdefault(name, set()).update(found)
    return Mentioned(frozenset(read), {name: frozenset(found) for name, found in values.items()})


def _walk(node: Any) -> tuple[set[str], set[Literal]]:  # noqa: ANN401 - Cedar's JSON form
    """Return every attribute and every value beneath a node."""
    names: set[str] = set()
    values: set[Literal] = set()
    for parent, name, value in beneath(node, lambda name, _: name not in _SAID):
        if name == "attr":
            names.add(PROMPT if value == "labels" and parent.get("left") == {"Var": "context"} else value)
        elif name == "pattern":
            values |= {"".join(_piece(piece, star) for piece in value) for star in ("", "x")}
        elif name == "Value" and isinstance(value, str | int) and not isinstance(value, bool):
            values.add(value)
        elif name in ("__entity", "entity"):
            names.add(_KINDS.get(value.get("__entity", value)["type"], ""))
            values.add(value.get("__entity", value)["id"])
    return names - {""}, values


_SAID = frozenset(("attr", "pattern", "__entity", "entity"))
"""Operators whose value says it all."""

_KINDS = {PRINCIPAL: "id", TOOL: "tool"}


def _piece(piece: Any, star: str) -> str:  # noqa: ANN401 - as above
    return star if piece == "Wildcard" else str(piece["Literal"])


def combinations(dimensions: Mapping[str, Sequence[Any]], seed: str, most: int) -> Iterator[Choice]:
    """Yield choices of one value each: all of them where they are at most `most`, else a sample of so many.

    A sample begins with the first value of each dimension, changes each one alone, then any two together as far as
    three quarters of it reach, and goes on with choices drawn by a hash, in which every other dimension keeps its first
    value.
    """
    names = list(dimensions)
    if prod(len(values) for values in dimensions.values()) <= most:
        for values in product(*dimensions.values()):
            yield dict(zip(names, values, strict=True))
        return
    base = {name: values[0] for name, values in dimensions.items()}
    ones = [(name, value) for name, values in dimensions.items() for value in values[1:]]
    two = ({**base, **dict(pair)} for pair in pairs(ones, 2) if pair[0][0] != pair[1][0])
    begun = [base, *({**base, name: value} for name, value in ones)][:most]
    begun += islice(two, max(0, most * 3 // 4 - len(begun)))
    yield from begun
    for number in range(len(begun), most):
        drawn = _numbers(f"{seed}:{number}")
        yield {
            name: values[next(drawn) % len(values)] if next(drawn) & 1 else values[0]
            for name, values in dimensions.items()
        }


def _numbers(seed: str) -> Iterator[int]:
    block = seed.encode()
    while True:
        block = sha256(block).digest()
        yield from (int.from_bytes(block[at : at + 4], "big") for at in range(0, 32, 4))


def person(said: Mentioned, place: str, *ids: str) -> dict[str, Sequence[Any]]:
    """Return the dimensions of one person; `ids` are those that somebody else may have too."""
    kinds = ("agent", "human", "service", "unknown")
    values: dict[str, Sequence[Any]] = {
        "kind": ("human", *(kind for kind in kinds if kind != "human")) if place == "approver" else kinds,
        "trust_domain": [word for word in said.words("trust_domain", "", "other.test") if word != FRESH],
        "id": ("", *ids, *(word for word in said.words("id") if word != FRESH)),
        "owner": said.words("owner", "team"),
        "risk": ("low", "medium", "high"),
        "assurance": said.words("assurance", ""),
        "labels": said.sets("labels"),
    }
    also = {"kind": "kinds", "trust_domain": "trust_domains", "id": "ids", "risk": "risks"}
    used = (name for name in values if name in said.read or also.get(name) in said.read or (name == "id" and ids))
    return {f"{place}.{name}": values[name] for name in used}


def tool(said: Mentioned, listed: Sequence[str], labels: Sequence[str], *, called: bool) -> dict[str, Sequence[Any]]:
    """Return the dimensions of a tool: with facts of its own, or one that the catalogues list differently."""
    read = said.read
    found: dict[str, Sequence[Any]] = {}
    if called or read & {"class", "classes"}:
        found["tool.class"] = CLASSES
    if "sensitivity" in read:
        found["tool.sensitivity"] = SENSITIVITIES
    if "target" in read:
        found["tool.target"] = said.words("target", "")
    if "classification" in read:
        found["tool.classification"] = (None, *labels)
    names = [word for word in said.words("tool", "tool") if word != FRESH] if read & {"tool", "tools"} else ["tool"]
    found["tool.name"] = [*names, *(name for name in said.values.get("tools", ()) if name not in names)]
    found["tool.listed"] = (None, *listed)
    return {name: values for name, values in found.items() if len(values) > 1}


def plain(said: Mentioned, question: str, labels: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Return the dimensions of everything else that a question has."""
    texts = ("issuer", "subject", "task", "owner", "intent", "purpose", "audience", "currency")
    found: dict[str, Sequence[Any]] = {name: said.words(name, "") for name in texts if name in said.read}
    found.pop("issuer", None)
    if "issuer" in said.read:
        found["issuer"] = said.words("issuer", "https://issuer.example.test")
    if question == "call":
        found |= {PROMPT: said.sets(PROMPT), "classification": (None, *labels), "age": said.numbers("age", 0)}
    if question == "delegate":
        found |= {
            "hop.lifetime": said.numbers("lifetime", 600, least=1),
            "hop.classes": (None, *((one,) for one in CLASSES)),
            "hop.classification": (None, *labels),
            "hop.purposes": said.sets("purposes"),
        }
    if question == "approve":
        found["emergency"] = (False, True)
    else:
        deep = said.read & {"depth", "origin", "delegator", "ancestors", "ids", "kinds", "trust_domains", "risks"}
        found["depth"] = said.numbers("depth", 0, 1, 2, most=MAX_DEPTH) if deep else (1,)
        counts = said.numbers("count", 0, most=MAX_DEPTH)
        found["approvals"] = (*counts, *((word,) for word in said.words("by"))) if "approvals" in said.read else (0,)
    if question != "delegate":
        found["amount"] = said.amounts()
    kept = {"depth", "approvals", "emergency"}
    return {
        name: values
        for name, values in found.items()
        if len(values) > 1 and (name in kept or name.rpartition(".")[2] in said.read)
    }
