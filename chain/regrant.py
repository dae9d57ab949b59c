"""Hops that grant something else, and the chains that they make.

The law of this file: pure, and nothing is signed. A hop whose grant is changed keeps its identity, because what is
asked is how things would stand had it been granted so. Each hop is made once, and compared with its parent once:
whoever tries many changes of one chain pays for what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, structs

from chain.claims import Claims, Entry, ExtendedEntry
from chain.constraint import AnyConstraint
from chain.delegation import Chain, Delegation
from chain.grant import Limits
from chain.token import Rules

Regrant: TypeAlias = tuple[tuple[str, str], ...]
"""What is changed of one hop: the field's path within it, and what stands there then, as JSON."""

_arguments = msgspec.json.Decoder(dict[str, AnyConstraint]).decode
_constraint: Callable[[str], AnyConstraint] = msgspec.json.Decoder(AnyConstraint).decode


class Regrants:
    """Chains of hops that grant something else, for calls of one tool.

    Attributes:
        made: how many hops were.
    """

    def __init__(self, tool: str, rules: Rules) -> None:
        """Begin with none.

        Args:
            tool: that is asked for; of no other tool a grant is changed.
            rules: of the verifier.
        """
        self.made = 0
        self._tool = tool
        self._rules = rules
        self._hops: dict[tuple[Delegation, Regrant, Delegation | None], Delegation] = {}
        self._chains: dict[tuple[Delegation, ...], Chain] = {}
        self._within: dict[tuple[Delegation, Delegation], bool] = {}

    def chain(self, chain: Chain, granted: Mapping[int, Iterable[tuple[str, str]]]) -> Chain:
        """Return a chain of which some hops grant something else.

        Args:
            chain: as it is.
            granted: by place of the hop, what is changed of it, in order.

        Raises:
            ValueError: a field that no grant has, or a value that cannot stand there.
        """
        hops: list[Delegation] = []
        for hop in chain.hops:
            changed = tuple(granted.get(hop.hop, ()))
            hops.append(self._hop(hop, changed, hops[-1] if hops else None) if changed else hop)
        key = tuple(hops)
        if key not in self._chains:
            self._chains[key] = _linked(hops)
        return self._chains[key]

    def sound(self, chain: Chain) -> bool:
        """Tell whether every hop of a chain is contained in the one above."""
        return all(map(self._contained, chain.hops, chain.hops[1:]))

    def _hop(self, hop: Delegation, changed: Regrant, parent: Delegation | None) -> Delegation:
        key = (hop, changed, parent if hop.entry is None else None)
        if key not in self._hops:
            self._hops[key] = _regranted(hop, changed, parent, self._tool, self._rules.labels)
            self.made += 1
        return self._hops[key]

    def _contained(self, parent: Delegation, child: Delegation) -> bool:
        known = self._within.get((parent, child))
        if known is None:
            known = self._within[parent, child] = _contained(parent, child, self._rules)
        return known


def _linked(hops: Sequence[Delegation]) -> Chain:
    made = Chain(hops[0])
    for hop in hops[1:]:
        made = Chain(hop, made)
    return made


def _contained(parent: Delegation, child: Delegation, rules: Rules) -> bool:
    if parent.extended and child.entry is not None and not child.extended:
        return False
    if child.exp > parent.exp or child.iat < parent.iat:
        return False
    if parent.audience is not None and child.audience is not None and not child.audience <= parent.audience:
        return False
    return parent.grant.covers(child.grant, rules.profile, rules.labels)


def _regranted(
    hop: Delegation, changed: Regrant, parent: Delegation | None, tool: str, labels: tuple[str, ...]
) -> Delegation:
    claims, entry = hop.claims, hop.entry
    for field, after in changed:
        if field in ("exp", "iat", "home", "aud"):
            claims = _claimed(claims, field, after)
        else:
            entry = _limited(entry, parent, field, after, tool)
    claims = structs.replace(claims, authorization_details=() if entry is None else (entry,))
    return Delegation(hop.digest, claims, entry, hop.key, labels, hop.signer, hop.certifier)


def _claimed(claims: Claims, field: str, after: str) -> Claims:
    value: Any = msgspec.json.decode(after) if after else UNSET
    match field:
        case "exp" | "iat":
            value = int(value)
        case "aud":
            value = tuple(value)
    return structs.replace(claims, **{field: value})


def _limited(entry: Entry | None, parent: Delegation | None, field: str, after: str, tool: str) -> Entry:
    """Change an entry; that of a hop without one is empty, and restates every limit of its parent."""
    if entry is None:
        entry = ExtendedEntry(tools={}) if parent is None else ExtendedEntry(tools={}, limits=parent.grant.limits)
    name = field.removeprefix("limits.")
    return _tooled(entry, tool, field, after) if name == field else _bounded(entry, name, after)


def _bounded(entry: Entry, name: str, after: str) -> Entry:
    value: Any = msgspec.json.decode(after) if after else UNSET
    limits = msgspec.to_builtins(entry.limits)
    outer, _, inner = name.partition(".")
    if outer not in limits or (inner and inner not in limits[outer]):
        raise ValueError(f"`limits.{name}` limits nothing here")
    if inner:
        limits[outer][inner] = value
    else:
        limits[outer] = value
    return structs.replace(entry, limits=msgspec.convert(limits, Limits))


def _tooled(entry: Entry, tool: str, field: str, after: str) -> Entry:
    """Change what is granted of the tool that is asked for."""
    tools = dict(entry.tools)
    whole = f"tools.{tool}"
    if field == whole:
        tools[tool] = _arguments(after)
    elif field.startswith(f"{whole}.") and after:
        tools[tool] = tools.get(tool, {}) | {field.removeprefix(f"{whole}."): _constraint(after)}
    else:
        raise ValueError(f"`{field}` is nothing that a hop grants of `{tool}`")
    return structs.replace(entry, tools=tools)
