"""What Cedar is told: principals, tools, delegations and contexts as entities of the schema.

The law of this file: every attribute of the schema that a rule can read is filled, always, from facts that are part of
the question; what is unknown has the value that the schema documents for it. What no rule reads is left out: a chain's
sets repeat everybody above each hop. Names travel as data, never as text that is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, NamedTuple, Protocol, TypeAlias

from chain.catalog import Catalogue, Tool
from chain.control import Party
from chain.delegation import Facts
from chain.grant import Grant
from chain.outcome import Asked, Judged

PRINCIPAL, TOOL, DELEGATION, ACTION = (f"Chain::{name}" for name in ("Principal", "Tool", "Delegation", "Action"))

MONEY = Decimal("0.0001")
"""The smallest step of Cedar's `decimal`; an amount with more digits is rounded up, so that it never looks smaller."""

MOST = Decimal(10) ** 14
"""An amount from here on is more than Cedar's `decimal` can compare."""

CLASSES = ("read", "write", "act")
SENSITIVITIES = ("low", "moderate", "high", "critical")

Entity: TypeAlias = dict[str, Any]

Wanted: TypeAlias = AbstractSet[str]
"""Names of the attributes that some rule reads."""


class Hop(Protocol):
    """What a policy reads of one delegation (`chain.delegation.Delegation`)."""

    @property
    def digest(self) -> bytes: ...
    @property
    def id(self) -> str: ...
    @property
    def hop(self) -> int: ...
    @property
    def iat(self) -> int: ...
    @property
    def exp(self) -> int: ...
    @property
    def grant(self) -> Grant: ...
    @property
    def classes(self) -> AbstractSet[str] | None: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def purposes(self) -> Sequence[str] | None: ...


class Links(Protocol):
    """What a policy reads of a chain (`chain.delegation.Chain`), so that cases state one without signed tokens."""

    @property
    def issuer(self) -> str: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def hops(self) -> Sequence[Hop]: ...
    @property
    def leaf(self) -> Hop: ...


def entity(kind: str, name: str, attributes: Mapping[str, Any]) -> Entity:
    """Return an entity in Cedar's JSON form."""
    return {"uid": {"type": kind, "id": name}, "attrs": attributes, "parents": []}


def reference(kind: str, name: str) -> Entity:
    """Return a reference to an entity."""
    return {"__entity": {"type": kind, "id": name}}


def name_of(party: Party) -> str:
    """Return a holder's id, or ``key:`` and the thumbprint where nobody enrolled it."""
    return f"key:{party.thumbprint}" if party.principal is None else party.principal.id


def principal(name: str, party: Party) -> Entity:
    """Return the entity of a holder."""
    standing = party.standing
    return entity(
        PRINCIPAL,
        name,
        {
            "id": name,
            "kind": _kind(party),
            "trust_domain": _domain(party),
            "owner": "" if party.principal is None else party.principal.owner,
            "risk": standing.risk,
            "assurance": standing.assurance,
            "labels": list(standing.labels),
        },
    )


def issuer(name: str) -> Entity:
    """Return the entity of a root's issuer."""
    nothing = dict.fromkeys(("trust_domain", "owner", "assurance"), "")
    return entity(PRINCIPAL, name, {"id": name, "kind": "issuer", "risk": "low", "labels": [], **nothing})


def _kind(party: Party) -> str:
    return "unknown" if party.principal is None else party.principal.kind


def _domain(party: Party) -> str:
    return "" if party.principal is None else party.principal.trust_domain


def tool(name: str, what: Tool, labels: Sequence[str]) -> Entity:
    """Return the entity of a tool; `labels` are the data labels, lowest first."""
    return entity(
        TOOL,
        name,
        {
            "class": what.action_class,
            "sensitivity": what.sensitivity,
            "target": what.target or "",
            "classification": what.classification or labels[-1],
        },
    )


class _At(NamedTuple):
    """One hop, with all above it."""

    chain: Links
    hop: Hop
    above: Sequence[Party]
    catalogue: Catalogue
    labels: Sequence[str]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(map(name_of, self.above)))

    @property
    def tools(self) -> list[Tool]:
        return [self.catalogue.tool(name) for name in self.hop.grant.tools]

    @property
    def classes(self) -> list[str]:
        allowed = set(CLASSES) if self.hop.classes is None else self.hop.classes
        return sorted({one.action_class for one in self.tools} & allowed)


def delegator(chain: Links, hop: Hop, parties: Sequence[Party]) -> str:
    """Return who made a hop: the holder above, or the root's issuer."""
    return name_of(parties[hop.hop - 1]) if hop.hop else chain.issuer


ATTRIBUTES: Mapping[str, Callable[[_At], Any]] = {
    "depth": lambda at: at.hop.hop,
    "holder": lambda at: reference(PRINCIPAL, name_of(at.above[-1])),
    "delegator": lambda at: reference(PRINCIPAL, delegator(at.chain, at.hop, at.above)),
    "origin": lambda at: reference(PRINCIPAL, name_of(at.above[0])),
    "ancestors": lambda at: [reference(PRINCIPAL, name) for name in at.names],
    "ids": lambda at: at.names,
    "kinds": lambda at: sorted({_kind(party) for party in at.above}),
    "trust_domains": lambda at: sorted({_domain(party) for party in at.above}),
    "risks": lambda at: sorted({party.standing.risk for party in at.above}),
    "issuer": lambda at: at.chain.issuer,
    "subject": lambda at: at.chain.facts.sub or "",
    "task": lambda at: at.chain.facts.txn or "",
    "owner": lambda at: at.chain.facts.owner or "",
    "intent": lambda at: at.chain.facts.intent or "",
    "tools": lambda at: sorted(at.hop.grant.tools),
    "classes": lambda at: at.classes,
    "sensitivity": lambda at: max((one.sensitivity for one in at.tools), key=SENSITIVITIES.index, default="low"),
    "classification": lambda at: at.labels[-1 if at.hop.rank is None else at.hop.rank],
    "purposes": lambda at: list(at.hop.purposes or ()),
    "lifetime": lambda at: at.hop.exp - at.hop.iat,
}
"""How each attribute of a delegation is filled; none is until a rule reads it."""


def delegation(
    chain: Links, hop: Hop, parties: Sequence[Party], catalogue: Catalogue, labels: Sequence[str], wanted: Wanted
) -> Entity:
    """Return the entity of one hop with all above it, and of that what is wanted."""
    at = _At(chain, hop, parties[: hop.hop + 1], catalogue, labels)
    return entity(DELEGATION, hop.id, {name: fill(at) for name, fill in ATTRIBUTES.items() if name in wanted})


def told(whole: Entity, wanted: Wanted) -> Entity:
    """Return of an entity what is wanted."""
    return {**whole, "attrs": {name: value for name, value in whole["attrs"].items() if name in wanted}}


def people(chain: Links, hop: Hop, parties: Sequence[Party], names: AbstractSet[str], wanted: Wanted) -> list[Entity]:
    """Return the entities of a hop's holder, delegator and origin, and of whoever else above it is named.

    Everybody else above is in a set at most, and no rule can ask a member of a set for an attribute.
    """
    above = parties[: hop.hop + 1]
    places = {0, max(0, hop.hop - 1), hop.hop}
    if names:
        places |= {place for place, party in enumerate(above) if name_of(party) in names}
    found: dict[str, Entity] = {}
    if hop.hop == 0 or chain.issuer in names:
        found[chain.issuer] = issuer(chain.issuer)
    found |= {(name := name_of(above[place])): principal(name, above[place]) for place in sorted(places)}
    return [told(one, wanted) for one in found.values()]


def call(leaf: str, asked: Asked) -> dict[str, Any] | None:
    """Return the context of a call, or None where its amount is more than a policy can compare."""
    context: dict[str, Any] = {
        "chain": reference(DELEGATION, leaf),
        "purpose": asked.purpose,
        "intent": asked.intent,
        "labels": asked.labels,
        "classification": asked.classification,
        "audience": asked.audience,
        "age": asked.age,
        "approvals": approvals(asked.approvers),
        "currency": asked.currency,
    }
    return context if asked.amount is None else _with_amount(context, asked.amount)


def approving(judged: Judged) -> dict[str, Any] | None:
    """Return the context of somebody's approval, or None where the amount is more than a policy can compare."""
    context: dict[str, Any] = {
        "requester": reference(PRINCIPAL, name_of(judged.requester)),
        "ancestors": [reference(PRINCIPAL, name) for name in {name_of(party) for party in judged.ancestors}],
        "subject": judged.subject,
        "task": judged.task,
        "purpose": judged.purpose,
        "emergency": judged.emergency,
        "currency": judged.currency,
    }
    return context if judged.amount is None else _with_amount(context, judged.amount)


def approvals(people: Sequence[str]) -> dict[str, Any]:
    """Return who approved."""
    return {"count": len(people), "by": people}


def _with_amount(context: dict[str, Any], amount: Decimal) -> dict[str, Any] | None:
    try:
        text = f"{amount.quantize(MONEY, ROUND_CEILING):f}"
    except InvalidOperation:
        return None
    if not -MOST < amount < MOST:
        return None
    context["amount"] = {"__extn": {"fn": "decimal", "arg": text}}
    return context


def probes(labels: Sequence[str]) -> tuple[list[Entity], list[tuple[str, str, Mapping[str, Any]]]]:
    """Return entities, and a question of every shape: action, type of its resource, context.

    Everybody in them is named `PROBE`.
    """
    blank = reference(PRINCIPAL, PROBE)
    people = issuer(PROBE)
    attributes: dict[str, Any] = {
        "depth": 0, "holder": blank, "delegator": blank, "origin": blank, "ancestors": [blank], "ids": [""],
        "kinds": [""], "trust_domains": [""], "risks": [""], "issuer": "", "subject": "", "task": "", "owner": "",
        "intent": "", "tools": [""], "classes": [""], "sensitivity": "low", "classification": "", "purposes": [""],
        "lifetime": 1,
    }  # fmt: skip
    people["attrs"]["labels"] = [""]
    asked = Asked(PROBE, "", "", "", ("",), "", 0, None, ("",))
    context = {
        "requester": blank, "ancestors": [blank], "subject": "", "task": "", "purpose": "", "emergency": False,
        "currency": "",
    }  # fmt: skip
    shapes: list[tuple[str, str, Mapping[str, Any]]] = [("delegate", DELEGATION, {"approvals": approvals(("",))})]
    for amount in (None, Decimal(1)):
        given = call(PROBE, asked._replace(amount=amount)) or {}
        shapes += [(action, TOOL, given) for action in CLASSES]
        shapes.append(("approve", TOOL, context if amount is None else _with_amount(dict(context), amount) or {}))
    return [people, tool(PROBE, Tool(), labels), entity(DELEGATION, PROBE, attributes)], shapes


PROBE = "probe"
