"""What might lift a finding: proposals, each a few steps that belong together. The request and what is granted.

The law of this file: it only proposes, and whoever asks tries every proposal (chain/counterfactual.py). Authenticity,
proofs and replays have no remedy here, nor has a person's refusal: nothing makes up for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from hashlib import sha256
from typing import TypeAlias

import msgspec
from msgspec import UnsetType

from chain.applied import Situation, text
from chain.base64url import b64encode
from chain.budget import UnreadableError, money, read
from chain.case import Case
from chain.constraint import AnyConstraint, Exact, OneOf
from chain.delegation import Delegation
from chain.explain import Change
from chain.grant import within_purpose
from chain.jcs import Json
from chain.nearest import ABSENT, permitted, widened
from chain.reason import Reason
from chain.state import MAX_LIFETIME

Proposal: TypeAlias = tuple[Change, ...]

OF_ARGUMENTS = frozenset({Reason.ARGUMENT_NOT_GRANTED, Reason.ARGUMENT_MISSING, Reason.CONSTRAINT_VIOLATED})
"""Findings that each concern one argument."""

TOGETHER = 16
"""Arguments that are changed at once."""

FEW = 4
"""Values of one field that are proposed, the nearest first."""

BEYOND = 60
"""Seconds beyond now that a delegation would have to live, to be of any use."""


def arguments(situation: Situation) -> Iterator[Proposal]:
    """The nearest values of all that a hop refuses, at once; or of the first alone, or constraints that permit it."""
    found = [list(_another(situation, name)) for name in sorted(refused(situation))[:TOGETHER]]
    if len(found) > 1:
        yield tuple(proposals[0][0] for proposals in found if proposals)
    for name in sorted(refused(situation))[:1]:
        yield from found[0]
        closed = [hop for hop in situation.chain.hops if _closed(hop, situation.request.tool)]
        if name in situation.request.arguments:
            yield from _widenings(situation, name, closed)


def _another(situation: Situation, name: str) -> Iterator[Proposal]:
    """Propose another value of an argument, or none."""
    asked = situation.request.arguments
    closed = [hop for hop in situation.chain.hops if _closed(hop, situation.request.tool)]
    ruled = [_granted(hop, situation.request.tool)[name] for hop in closed if name in _tool(hop, situation)]
    if len(ruled) < len(closed) and name in asked:
        yield (_stated(f"arguments.{name}", asked[name], ABSENT, f"leave out `{name}`"),)
    if ruled:
        yield from values(situation, name, ruled)


def refused(situation: Situation) -> set[str]:
    """Return the arguments that some hop refuses, misses or does not name; hops that grant the same are asked once."""
    asked, found = situation.request.arguments, set()
    granted = [rules for hop in situation.chain.hops if (rules := _tool(hop, situation))]
    for rules in {msgspec.json.encode(one): one for one in granted}.values():
        found |= {name for name, rule in rules.items() if name not in asked or not rule.permits(asked[name])}
        found |= asked.keys() - rules.keys()
    return found


def values(
    situation: Situation, name: str, ruled: list[AnyConstraint], more: Iterable[Json] = ()
) -> Iterator[Proposal]:
    """Propose the values of an argument that every hop permits, the nearest first."""
    asked = situation.request.arguments.get(name, ABSENT)
    for value in permitted(asked, ruled, more)[:FEW]:
        words = f"ask with `{name}` {_json(value)}"
        yield (_stated(f"arguments.{name}", asked, value, words),)


def ruling(situation: Situation, name: str) -> list[AnyConstraint]:
    """Return every hop's constraint on an argument of the tool."""
    return [rule for hop in situation.chain.hops if (rule := _tool(hop, situation).get(name)) is not None]


def _stated(field: str, before: object, after: object, words: str) -> Change:
    return Change("request", field, _json(before), _json(after), words)


def _json(value: object) -> str:
    return "" if value is ABSENT else msgspec.json.encode(value).decode()


def _closed(hop: Delegation, tool: str) -> bool:
    return bool(hop.grant.tools.get(tool))


def _granted(hop: Delegation, tool: str) -> dict[str, AnyConstraint]:
    return hop.grant.tools.get(tool, {})


def _tool(hop: Delegation, situation: Situation) -> dict[str, AnyConstraint]:
    return _granted(hop, situation.request.tool)


def _widenings(situation: Situation, name: str, closed: list[Delegation]) -> Iterator[Proposal]:
    """Propose to widen each refusing hop: by the value alone, or up to what the hop above has."""
    tool, value = situation.request.tool, situation.request.arguments[name]
    narrow, wide = [], []
    above: AnyConstraint | None = None
    for hop in closed:
        rule = _granted(hop, tool).get(name)
        if rule is None or not rule.permits(value):
            least = _only(value) if rule is None else widened(rule, value)
            narrow.append(_granting(hop, f"tools.{tool}.{name}", rule, least))
            wide.append(_granting(hop, f"tools.{tool}.{name}", rule, least if above is None else above))
            rule = least if above is None else above
        above = rule
    yield tuple(narrow)
    if wide != narrow:
        yield tuple(wide)


def _only(value: Json) -> AnyConstraint:
    return OneOf((value,)) if isinstance(value, list | dict) else Exact(value)


def _granting(hop: Delegation, field: str, before: object, after: object, words: str = "") -> Change:
    told = words or f"hop {hop.hop} grants {text(after)} for `{field}`"
    return Change("grant", f"hops.{hop.hop}.{field}", text(before), text(after), told)


def tool(situation: Situation) -> Iterator[Proposal]:
    """Every hop that lacks the tool grants it: for these arguments alone, or as the hop above does."""
    name, asked = situation.request.tool, situation.request.arguments
    lacking = [hop for hop in situation.chain.hops if name not in hop.grant.tools]
    exact = {key: _only(value) for key, value in asked.items()}
    above = next((_granted(hop, name) for hop in situation.chain.hops if name in hop.grant.tools), exact)
    for arguments in (exact,) if above == exact else (exact, above):
        words = f"grants `{name}` with {text(arguments)}"
        yield tuple(_granting(hop, f"tools.{name}", None, arguments, f"hop {hop.hop} {words}") for hop in lacking)


def audience(situation: Situation) -> Iterator[Proposal]:
    """An enforcement point that every hop is meant for asks, or every hop is meant for the one that does."""
    asked = situation.request.audience
    bound = [hop for hop in situation.chain.hops if hop.audience is not None]
    common = frozenset.intersection(*(hop.audience for hop in bound if hop.audience is not None))
    for name in sorted(common)[:FEW]:
        words = f"ask through the enforcement point `{name}`"
        yield (Change("request", "audience", text(asked), text(name), words),)
    if asked is not None:
        yield tuple(
            _granting(hop, "aud", sorted(hop.audience), sorted({*hop.audience, asked}))
            for hop in bound
            if hop.audience is not None and asked not in hop.audience
        )


def purpose(situation: Situation) -> Iterator[Proposal]:
    """A purpose that every hop grants, or hops that grant the one declared."""
    asked = situation.request.purpose
    bound = [hop for hop in situation.chain.hops if hop.purposes is not None]
    for name in permitted(ABSENT if asked is None else asked, [OneOf(tuple(_purposes(bound)))])[:FEW] if bound else ():
        if all(any(within_purpose(name, granted) for granted in hop.purposes or ()) for hop in bound):
            yield (Change("request", "purpose", text(asked), text(name), f"declare the purpose `{name}`"),)
    if asked is not None:
        yield tuple(
            _granting(hop, "limits.purposes", hop.purposes, [*hop.purposes, asked])
            for hop in bound
            if hop.purposes is not None and not any(within_purpose(asked, granted) for granted in hop.purposes)
        )


def _purposes(bound: list[Delegation]) -> list[str]:
    return sorted({name for hop in bound for name in hop.purposes or ()}) or ["none"]


def intent(situation: Situation) -> Iterator[Proposal]:
    """The instruction that started the task is declared."""
    bound, asked = situation.chain.facts.intent, situation.request.intent
    if bound is not None:
        words = "declare the instruction that started the task"
        yield (Change("request", "intent", text(asked), text(bound), words),)


def request_id(situation: Situation) -> Iterator[Proposal]:
    """An id that nobody used: its digest is of what is asked, so that it is one and the same for one question."""
    name = b64encode(sha256(situation.chain.leaf.digest + situation.request.canonical_arguments).digest()[:16])
    if not situation.state.seen(situation.chain.leaf.digest, f"request:{name}"):
        yield (Change("request", "request_id", "", text(name), "give the call a single-use id of its own"),)


def action_class(situation: Situation) -> Iterator[Proposal]:
    """Every hop that lacks the tool's class grants it."""
    asked = situation.state.catalogue.tool(situation.request.tool).action_class
    yield tuple(
        _granting(hop, "limits.classes", sorted(hop.classes), sorted({*hop.classes, asked}))
        for hop in situation.chain.hops
        if hop.classes is not None and asked not in hop.classes
    )


def classification(situation: Situation) -> Iterator[Proposal]:
    """Data with a lower label, where the catalogue leaves that open, or hops that reach the label."""
    labels, asked = situation.rules.labels, case(situation).label
    ranks = [hop.rank for hop in situation.chain.hops if hop.rank is not None]
    stated, reached = situation.request.classification, labels[min(ranks)]
    if stated != reached:
        words = f"touch data of at most `{reached}`, and let the enforcement point say so"
        yield (Change("request", "classification", text(stated), text(reached), words),)
    yield tuple(
        _granting(hop, "limits.classification", labels[hop.rank], labels[asked])
        for hop in situation.chain.hops
        if hop.rank is not None and hop.rank < asked
    )


def case(situation: Situation) -> Case:
    """Return the call as the questions see it."""
    return Case(situation.chain, situation.request, situation.state, situation.now)


def lifetime(situation: Situation) -> Iterator[Proposal]:
    """Hops that end later, or that are made anew now, no longer than a verifier lets any live."""
    now, ceiling = int(situation.now), min(situation.state.settings.max_lifetime, MAX_LIFETIME)
    later, anew = [], []
    until = None
    for hop in situation.chain.hops:
        life = min(hop.exp - hop.iat, ceiling)
        if hop.exp <= now or hop.exp - hop.iat > ceiling:
            end = now + BEYOND if hop.exp <= now else min(hop.exp, hop.iat + ceiling)
            later.append(_granting(hop, "exp", hop.exp, end, f"hop {hop.hop} ends at {end}"))
            fresh = now + life if until is None else min(now + life, until)
            anew.append(_granting(hop, "exp", hop.exp, fresh, f"hop {hop.hop} is made anew, until {fresh}"))
            anew.append(_granting(hop, "iat", hop.iat, now, f"hop {hop.hop} is made anew, at {now}"))
            until = fresh
        else:
            until = hop.exp
    yield tuple(later)
    yield tuple(anew)


def home(situation: Situation) -> Iterator[Proposal]:
    """The root names this authority for its budgets and approvals."""
    kept, root = situation.state.settings.home, situation.chain.root
    if kept is not None and situation.chain.facts.home != kept:
        words = f"the root names `{kept}` as the home of budgets and approvals"
        yield (_granting(root, "home", situation.chain.facts.home, kept, words),)


def budget(situation: Situation) -> Iterator[Proposal]:
    """No more than what is left everywhere, or budgets that have enough."""
    name, asked = _spent(situation)
    rests, raised = [], []
    for hop in situation.chain.hops:
        spent, limit, ceiling = situation.state.spent(hop.digest), hop.budget, money(hop)
        if limit is None:
            continue
        if not isinstance(limit.calls, UnsetType) and spent.calls >= limit.calls:
            raised.append(_granting(hop, "limits.budget.calls", limit.calls, spent.calls + 1))
        if ceiling is not None:
            rests.append(max(Decimal(ceiling.value) - spent.amount, Decimal(0)))
            if asked is not None and rests[-1] < asked:
                more = msgspec.structs.replace(ceiling, value=f"{spent.amount + asked:f}")
                raised.append(_granting(hop, "limits.budget.amount", ceiling, more))
    if name and rests and asked is not None and min(rests) < asked:
        yield from lower(situation, name, min(rests))
    yield tuple(raised)


def _spent(situation: Situation) -> tuple[str, Decimal | None]:
    """Return which argument says how much the call costs, and how much that is."""
    ceilings = (money(hop) for hop in situation.chain.hops)
    name = next((ceiling.argument for ceiling in ceilings if ceiling is not None), "")
    try:
        return name, read(situation.request.arguments, name) if name else None
    except UnreadableError:
        return name, None


def lower(situation: Situation, name: str, most: Decimal) -> Iterator[Proposal]:
    """Propose amounts of at most so much, in the form in which the call states it."""
    asked = situation.request.arguments.get(name)
    whole = int(most)
    more: list[Json] = [f"{most:f}"] if isinstance(asked, str) else [whole, float(most)]
    for proposal in values(situation, name, ruling(situation, name), more):
        stated = _read(proposal, name)
        if stated is not None and stated <= most:
            yield proposal


def _read(proposal: Proposal, name: str) -> Decimal | None:
    try:
        return read({name: msgspec.json.decode(proposal[0].after)}, name)
    except UnreadableError:
        return None


def amount(situation: Situation) -> Iterator[Proposal]:
    """An amount that can be read, in the currency that is granted."""
    where = situation.state.catalogue.tool(situation.request.tool).amount
    name = _spent(situation)[0] or ("" if where is None else where.argument)
    currency = next((ceiling.currency for hop in situation.chain.hops if (ceiling := money(hop)) is not None), None)
    if currency is not None:
        spoken = "currency" if where is None else where.currency_argument
        if spoken is not None:
            yield from values(situation, spoken, [*ruling(situation, spoken), OneOf((currency,))])
    for proposal in values(situation, name, ruling(situation, name), (0, "0")) if name else ():
        if _read(proposal, name) is not None:
            yield proposal


REMEDIES: dict[Reason, tuple[Callable[[Situation], Iterator[Proposal]], ...]] = {
    Reason.EXPIRED: (lifetime,),
    Reason.LIFETIME_EXCEEDED: (lifetime,),
    Reason.AUDIENCE_MISSING: (audience,),
    Reason.AUDIENCE_MISMATCH: (audience,),
    Reason.TOOL_NOT_GRANTED: (tool,),
    Reason.ARGUMENT_NOT_GRANTED: (arguments,),
    Reason.ARGUMENT_MISSING: (arguments,),
    Reason.CONSTRAINT_VIOLATED: (arguments,),
    Reason.REQUEST_ID_MISSING: (request_id,),
    Reason.CLASS_NOT_GRANTED: (action_class,),
    Reason.CLASSIFICATION_EXCEEDED: (classification,),
    Reason.PURPOSE_MISSING: (purpose,),
    Reason.PURPOSE_MISMATCH: (purpose,),
    Reason.INTENT_MISSING: (intent,),
    Reason.INTENT_MISMATCH: (intent,),
    Reason.STATE_UNAVAILABLE: (home,),
    Reason.BUDGET_EXCEEDED: (budget,),
    Reason.AMOUNT_UNREADABLE: (amount,),
}
"""Finding -> what proposes to change the request or a grant because of it."""
