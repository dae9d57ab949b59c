"""A change applied: the same call under the chain, the request and the facts that it asks for.

The law of this file: pure, and nothing is signed. A hop whose grant is changed keeps its identity, because what is
asked is how things would stand had it been granted so; a chain whose neighbours do not contain each other any more, or
whose root passes its anchor's ceiling, is no chain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType, structs

from chain import check as checks
from chain.anchor import Ceiling
from chain.case import Case, Verdict
from chain.claims import Claims, Entry, ExtendedEntry
from chain.constraint import AnyConstraint
from chain.delegation import Chain, Delegation
from chain.explain import Change
from chain.grant import Limits
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.simulate import Supposed, decide
from chain.token import Rules

_HOP = re.compile(r"hops\.(\d+)\.(.+)", re.DOTALL)
_STATED = frozenset({"purpose", "classification", "audience", "intent", "request_id", "labels"})

_arguments = msgspec.json.Decoder(dict[str, AnyConstraint]).decode
_constraint: Callable[[str], AnyConstraint] = msgspec.json.Decoder(AnyConstraint).decode
_json = msgspec.json.decode


class Situation(NamedTuple):
    """A call, and everything that its answer follows from.

    Attributes:
        chain: on whose authority; verified, or changed.
        request: what is asked; its proof is not looked at.
        state: facts, some of them supposed.
        now: seconds.
        rules: of the verifier.
        ceilings: of the anchors that the root's signer is trusted under; none leaves the root free.
    """

    chain: Chain
    request: Request
    state: Supposed
    now: float
    rules: Rules
    ceilings: tuple[Ceiling, ...] = ()

    def verdict(self) -> Verdict:
        """Decide the call, the holder taken as proven; a single-use id is asked for where one would be."""
        verdict = decide(self.chain, self.request, self.state, self.now, (checks.holder,))
        unnamed = Case(self.chain, self.request, self.state, self.now)
        channel = self.request.holder is not None and self.request.proof is None
        if channel and self.request.request_id is None and unnamed.tool.action_class != "read":
            unnamed.against(Reason.REQUEST_ID_MISSING, self.chain.leaf.hop, "needs a single-use id")
        return verdict._replace(findings=(*unnamed.findings, *verdict.findings))

    @property
    def sound(self) -> bool:
        """Whether the root stays under a ceiling of its anchor, and every hop is contained in the one above."""
        root, labels = self.chain.root, self.rules.labels
        if self.ceilings and all(ceiling.excess(root, labels) is not None for ceiling in self.ceilings):
            return False
        return all(map(self._within, self.chain.hops, self.chain.hops[1:]))

    def _within(self, parent: Delegation, child: Delegation) -> bool:
        if parent.extended and child.entry is not None and not child.extended:
            return False
        if child.exp > parent.exp or child.iat < parent.iat:
            return False
        if parent.audience is not None and child.audience is not None and not child.audience <= parent.audience:
            return False
        return parent.grant.covers(child.grant, self.rules.profile, self.rules.labels)

    @property
    def permitted(self) -> bool:
        """Whether the call would be allowed."""
        return self.sound and not self.verdict().findings


def applied(changes: Iterable[Change], situation: Situation) -> Situation:
    """Return the situation that changes lead to, one after the other.

    Args:
        changes: as `chain.counterfactual.smallest` returns them.
        situation: as it is.

    Raises:
        ValueError: a change of an unknown field, or with a value that cannot stand there.
    """
    for change in changes:
        situation = apply(change, situation)
    return situation


def apply(change: Change, situation: Situation) -> Situation:
    """Return the situation that one change leads to.

    Raises:
        ValueError: an unknown field, or a value that cannot stand there.
    """
    hop = _HOP.fullmatch(change.field)
    match change.kind:
        case "request":
            return situation._replace(request=_requested(change, situation.request))
        case "grant" if hop is not None and int(hop[1]) < len(situation.chain):
            return _granted(change, situation, int(hop[1]), hop[2])
        case "approval":
            return _approved(situation, None if hop is None else situation.chain.hops[int(hop[1])].digest)
        case "state" if hop is not None and hop[2] == "revoked":
            digest = situation.chain.hops[int(hop[1])].digest
            return _suppose(situation, restore=situation.state.hypothesis.restore | {digest})
        case "state":
            return _stated(change, situation)
    raise ValueError(f"`{change.field}` is nothing of kind `{change.kind}` that can be changed")


def _suppose(situation: Situation, **supposed: Any) -> Situation:  # noqa: ANN401 - members of the hypothesis
    state = situation.state
    return situation._replace(state=Supposed(state.live, replace(state.hypothesis, **supposed)))


def _approved(situation: Situation, hop: bytes | None) -> Situation:
    if hop is None:
        return _suppose(situation, approved=True)
    return _suppose(situation, approve=situation.state.hypothesis.approve | {hop})


def _requested(change: Change, request: Request) -> Request:
    scope, dot, name = change.field.partition(".")
    value = _json(change.after) if change.after else None
    if scope == "arguments" and dot:
        arguments = {key: item for key, item in request.arguments.items() if key != name}
        if change.after:
            arguments[name] = value
        return _asking(request, arguments=arguments)
    if change.field in _STATED:
        return _asking(request, **{change.field: tuple(value or ()) if change.field == "labels" else value})
    raise ValueError(f"`{change.field}` is nothing that a request states")


def _asking(request: Request, **stated: Any) -> Request:  # noqa: ANN401 - fields of the request
    fields = {name: getattr(request, name) for name in Request.model_fields}
    return Request(**fields | stated)


def _stated(change: Change, situation: Situation) -> Situation:  # noqa: PLR0911 - one case a kind of fact
    """Change a live fact, named by what it is about."""
    supposed = situation.state.hypothesis
    about, _, name = change.field.partition(".")
    kind, _, named = name.partition(":")
    match about:
        case "time":
            return situation._replace(now=float(_json(change.after)))
        case "suspensions":
            return _suppose(situation, lift=supposed.lift | {(kind, named)})
        case "struck":
            return _suppose(situation, pardon=supposed.pardon | {(kind, named)})
        case "enrolments":
            principal = Principal.model_validate_json(change.after)
            return _suppose(situation, enrol=(*supposed.enrol, (name, principal)))
        case "principals":
            return _suppose(situation, trust=supposed.trust | {name.removesuffix(".risk")})
        case "policy" if name:
            rule = name.removeprefix("rules.")
            return _suppose(situation, without_rules=supposed.without_rules | {rule})
        case "policy":
            return _suppose(situation, without_policy=True)
    raise ValueError(f"`{change.field}` is no fact that can be supposed")


def _granted(change: Change, situation: Situation, place: int, field: str) -> Situation:
    """Change what one hop grants, and leave everything else of the chain as it is."""
    made: Chain | None = None
    for hop in situation.chain.hops:
        made = Chain(_hop(change, situation, hop, field) if hop.hop == place else hop, made)
    state = situation.state  # a policy remembers hops by their identity, and this one is another by now
    return situation if made is None else situation._replace(chain=made, state=Supposed(state.live, state.hypothesis))


def _hop(change: Change, situation: Situation, hop: Delegation, field: str) -> Delegation:
    claims, entry = hop.claims, hop.entry
    value: Any = _json(change.after) if change.after else UNSET
    match field:
        case "exp" | "iat":
            claims = structs.replace(claims, **{field: int(value)})
        case "home":
            claims = structs.replace(claims, home=value)
        case "aud":
            claims = structs.replace(claims, aud=tuple(value))
        case _ if field.startswith("limits."):
            entry = _limited(_entry(situation, hop), field.removeprefix("limits."), value)
        case _:
            entry = _tooled(_entry(situation, hop), situation.request.tool, field, change.after)
    claims = structs.replace(claims, authorization_details=() if entry is None else (entry,))
    return _delegation(hop, claims, entry, situation.rules.labels)


def _delegation(hop: Delegation, claims: Claims, entry: Entry | None, labels: tuple[str, ...]) -> Delegation:
    return Delegation(hop.digest, claims, entry, hop.key, labels, hop.signer)


def _entry(situation: Situation, hop: Delegation) -> Entry:
    """Return a hop's entry; of one without, an empty one that restates every limit of its parent."""
    if hop.entry is not None:
        return hop.entry
    return ExtendedEntry(tools={}, limits=situation.chain.hops[hop.hop - 1].grant.limits)


def _limited(entry: Entry, name: str, value: object) -> Entry:
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


def text(value: object) -> str:
    """Return a value as the JSON text of a change; nothing for what is absent."""
    return "" if value is None or isinstance(value, UnsetType) else msgspec.json.encode(value).decode()
