"""A change applied: the same call under the chain, the request and the facts that it asks for.

The law of this file: pure, and nothing is signed. A chain whose neighbours do not contain each other any more, or whose
root passes its anchor's ceiling, is no chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
from msgspec import UnsetType

from chain import check as checks
from chain import ruling
from chain.anchor import Ceiling
from chain.case import Case, Question, Verdict
from chain.delegation import Chain
from chain.explain import Change
from chain.principal import Principal
from chain.reason import Reason
from chain.regrant import Regrants
from chain.request import Request
from chain.simulate import ask, decide
from chain.supposed import Hypothesis, Supposed
from chain.token import Rules

_HOP = re.compile(r"hops\.(\d+)\.(.+)", re.DOTALL)
_STATED = frozenset({"purpose", "classification", "audience", "intent", "request_id", "labels"})

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

    def verdict(self, *unasked: Question) -> Verdict:
        """Decide the call, the holder taken as proven; a single-use id is asked for where one would be.

        Args:
            unasked: questions that are left out.
        """
        verdict = decide(self.chain, self.request, self.state, self.now, (checks.holder, *unasked))
        unnamed = Case(self.chain, self.request, self.state, self.now)
        channel = self.request.holder is not None and self.request.proof is None
        if channel and self.request.request_id is None and unnamed.tool.action_class != "read":
            unnamed.against(Reason.REQUEST_ID_MISSING, self.chain.leaf.hop, "needs a single-use id")
        return verdict._replace(findings=(*unnamed.findings, *verdict.findings))

    def answered(self, question: Question, chain: Chain | None = None) -> Verdict:
        """Ask one question alone, of the call's chain or of another."""
        return ask(chain or self.chain, self.request, self.state, self.now, (question,))

    @property
    def rooted(self) -> Verdict:
        """What the policy says against the root: where that may not stand, nothing beneath it does."""
        return self.answered(ruling.hops, Chain(self.chain.root))

    @property
    def sound(self) -> bool:
        """Whether the root stays under a ceiling of its anchor, and every hop is contained in the one above."""
        return self.under_ceiling and Regrants(self.request.tool, self.rules).sound(self.chain)

    @property
    def under_ceiling(self) -> bool:
        """Whether the root stays under a ceiling of its anchor."""
        root, labels = self.chain.root, self.rules.labels
        return not self.ceilings or any(ceiling.excess(root, labels) is None for ceiling in self.ceilings)

    @property
    def permitted(self) -> bool:
        """Whether the call would be allowed."""
        return self.sound and not self.verdict().findings


def apply(change: Change, situation: Situation) -> Situation:
    """Return the situation that one change leads to.

    Raises:
        ValueError: an unknown field, or a value that cannot stand there.
    """
    return applied((change,), situation)


def applied(changes: Iterable[Change], situation: Situation, regrants: Regrants | None = None) -> Situation:
    """Return the situation that changes lead to; of two about the same field the later one counts.

    Args:
        changes: as `chain.counterfactual.smallest` returns them.
        situation: as it is.
        regrants: hops and chains that were made for changes before.

    Raises:
        ValueError: a change of an unknown field, or with a value that cannot stand there.
    """
    chain, state = situation.chain, situation.state
    now, supposed = situation.now, state.hypothesis
    granted: dict[int, list[tuple[str, str]]] = {}
    stated: list[Change] = []
    for change in changes:
        match change.kind:
            case "request":
                stated.append(change)
            case "grant":
                place, field = _placed(change.field, chain)
                granted.setdefault(place, []).append((field, change.after))
            case "state" if change.field == "time":
                now = float(_json(change.after))
            case "state" | "approval":
                supposed = _supposed(change, chain, supposed)
            case _:
                raise ValueError(f"`{change.field}` is nothing of kind `{change.kind}` that can be changed")
    request = _requested(stated, situation.request) if stated else situation.request
    if granted:
        chain = (regrants or Regrants(request.tool, situation.rules)).chain(chain, granted)
        state = Supposed(state.live, supposed, state)  # its policy knows hops by their identity: these are others
    elif supposed is not state.hypothesis:
        state = state.under(supposed)
    return situation._replace(chain=chain, request=request, state=state, now=now)


def _placed(field: str, chain: Chain) -> tuple[int, str]:
    """Return the hop that a field is of, and its path there."""
    found = _HOP.fullmatch(field)
    if found is None or int(found[1]) >= len(chain):
        raise ValueError(f"`{field}` is of no hop of the chain")
    return int(found[1]), found[2]


def _requested(changes: Iterable[Change], request: Request) -> Request:
    fields: dict[str, Any] = {name: getattr(request, name) for name in Request.model_fields}
    fields["arguments"] = dict(request.arguments)
    for change in changes:
        scope, dot, name = change.field.partition(".")
        value = _json(change.after) if change.after else None
        if scope == "arguments" and dot:
            fields["arguments"].pop(name, None)
            if change.after:
                fields["arguments"][name] = value
        elif change.field in _STATED:
            fields[change.field] = tuple(value or ()) if change.field == "labels" else value
        else:
            raise ValueError(f"`{change.field}` is nothing that a request states")
    return Request(**fields)


def _supposed(change: Change, chain: Chain, known: Hypothesis) -> Hypothesis:
    """Suppose another live fact, or that people approved."""
    if change.field == "approvals" and change.kind == "approval":
        return replace(known, approved=True, people=int(_json(change.after)))
    if not change.field.startswith("hops."):
        return _stated(change, known)
    place, field = _placed(change.field, chain)
    hop = chain.hops[place].digest
    match change.kind, field:
        case "approval", "approval":
            return replace(known, approve=known.approve | {hop})
        case "state", "revoked":
            return replace(known, restore=known.restore | {hop})
    raise ValueError(f"`{change.field}` is no fact that can be supposed")


def _stated(change: Change, known: Hypothesis) -> Hypothesis:
    """Change a live fact, named by what it is about."""
    about, _, name = change.field.partition(".") if change.kind == "state" else ("", "", "")
    kind, _, named = name.partition(":")
    match about:
        case "suspensions":
            return replace(known, lift=known.lift | {(kind, named)})
        case "struck":
            return replace(known, pardon=known.pardon | {(kind, named)})
        case "enrolments":
            principal = Principal.model_validate_json(change.after)
            return replace(known, enrol=(*known.enrol, (name, principal)))
        case "principals":
            return replace(known, trust=known.trust | {name.removesuffix(".risk")})
        case "policy" if name:
            return replace(known, without_rules=known.without_rules | {name.removeprefix("rules.")})
        case "policy":
            return replace(known, without_policy=True)
    raise ValueError(f"`{change.field}` is no fact that can be supposed")


def text(value: object) -> str:
    """Return a value as the JSON text of a change; nothing for what is absent."""
    return "" if value is None or isinstance(value, UnsetType) else msgspec.json.encode(value).decode()
