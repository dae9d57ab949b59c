"""Denials of every kind, each with the change that has to be found for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chain.control import Named
from chain.order import Revoke
from chain.pace import Breaker
from chain.reason import Reason
from chain.state import Settings
from tests.explain.denied import Denied, people, ruled, stand
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    EXTENDED,
    HOLDERS,
    HOME,
    NOW,
    TOOLS,
    Json,
    World,
    chain_of,
    child,
    digest,
    entry,
    honest,
    payload_of,
    root,
    rule,
    seal,
)

OTHER = "https://other.example"
PAY = {"class": "act", "sensitivity": "moderate", "classification": "internal"}
PAYS: Json = {
    "mail.read": {"class": "read", "classification": "internal"},
    "bank.pay": PAY | {"amount": {"argument": "amount", "currency": "EUR"}},
    "wire.pay": PAY | {"amount": {"argument": "sum", "currency_argument": "unit"}},
    "mail.send": {"class": "write", "classification": "internal"},
}


@dataclass(frozen=True)
class Row:
    """One denial.

    Attributes:
        name: of the test.
        make: the call.
        reason: what it is denied for.
        kinds: of the change's steps, sorted.
        fields: some of the fields that it must name.
        real: whether the change can be made in the world too.
    """

    name: str
    make: Callable[[], Denied]
    reason: Reason
    kinds: tuple[str, ...]
    fields: tuple[str, ...] = ()
    real: bool = True


def constrained(at: Json, value: object, hops: int = 3) -> Denied:
    """A tool with one constrained argument at every hop."""
    tokens = honest(hops, root(tools={"bank.pay": {"amount": at}}))
    return Denied(World(), tokens, HOLDERS[hops - 1], arguments={"amount": value})


def limited(limits: Json, root_limits: Json | None = None, **facts: Any) -> Denied:
    """A leaf with limits of its own, under a root with others."""
    above = seal(root(limits=root_limits or {"classes": ["read", "write", "act"]}, home=HOME))
    tokens = [above, seal(child(above, BOB, limits=_all(above, limits)), ALICE)]
    return Denied(World(), tokens, BOB, facts=facts)


def _all(parent: str, limits: Json) -> Json:
    held: Json = payload_of(parent)["authorization_details"][0].get("limits", {})
    return held | limits


def under(tokens: Sequence[str], by: Any = CAROL, world: World | None = None, **call: Any) -> Denied:
    return Denied(world or World(), tokens, by, **call)


def priced(world: World | None = None, **call: Any) -> Denied:
    """A payment of an open amount, by a catalogue that tells which argument that is."""
    made = world or World(catalogue=PAYS)
    tokens = honest(2, root(tools={"bank.pay": {}, "wire.pay": {}, "mail.send": {}, "mail.read": {}}))
    return Denied(made, tokens, BOB, **call)


def budgeted(budget: Json, spent: Sequence[Json] = (), **call: Any) -> Denied:
    """A chain whose root has a budget, some of it used."""
    limits = {"budget": budget}
    tokens = honest(2, root(tools={"bank.pay": {}, "mail.read": {}}, limits=limits, home=HOME))
    made = Denied(World(catalogue=PAYS), tokens, BOB, **call)
    for arguments in spent:
        assert Denied(made.world, tokens, BOB, arguments=arguments).ask().allowed
    return made


def late(hops: int) -> Denied:
    """A chain of which the last hops have ended."""
    ends = [NOW + 600 if place < 3 - hops else NOW - 1 for place in range(3)]
    tokens = chain_of(
        lambda parent: child(parent, BOB, exp=ends[1]),
        lambda parent: child(parent, CAROL, exp=ends[2]),
        first=root(exp=ends[0]),
    )
    return under(tokens)


def revoked(hop: int) -> Denied:
    made = under(honest())
    assert made.ask().allowed
    made.world.authority.revoke(made.world.caller, Revoke(digest(made.tokens[hop]), "a test"))
    return made


def struck() -> Denied:
    made = under(honest())
    order = Revoke(b"", "a test", Named("holder", BOB.key.thumbprint))
    made.world.authority.revoke(made.world.caller, order)
    return made


def stopped(scope: str, name: str, mode: str = "suspended") -> Denied:
    made = under(honest())
    made.world.authority.steering.suspend(made.world.caller, scope, name, "a test", mode=mode)
    return made


def risky(name: str = "spiffe://example.org/agent/2") -> Denied:
    forbid = 'forbid (principal, action == Chain::Action::"act", resource) when { principal.risk != "low" };'
    made = priced(ruled(World(catalogue=PAYS), calm=forbid))
    stand(made.world, name, "high")
    return made


def busy() -> Denied:
    made = under(honest(), world=World(breaker=Breaker(calls=2)))
    assert made.ask().allowed
    assert made.ask().allowed
    return made


def unnamed() -> Denied:
    world = World()
    world.caller = type(world.caller)(
        world.caller.name, world.caller.roles, world.caller.audience, CAROL.key.thumbprint, channel=True
    )
    return under(honest(), world=world, facts={"holder": CAROL.key.thumbprint})


def policy(**rules: str) -> Denied:
    return priced(ruled(World(catalogue=PAYS), **rules))


INTENT = {"digest": "d" * 43, "alg": "sha-256", "salt": "s"}
ACT = 'principal, action == Chain::Action::"act", resource'
HOP = 'principal, action == Chain::Action::"delegate", resource'
AMOUNT = f'forbid ({ACT}) when {{ context has amount && context.amount.greaterThan(decimal("50.0")) }};'


def _missing(at: Json) -> Denied:
    return Denied(World(), honest(2, root(tools={"bank.pay": {"amount": at}})), BOB, arguments={})


def _intended(**facts: Any) -> Denied:
    first = root(intent=INTENT, authorization_details=[entry(TOOLS, kind=EXTENDED)])
    return under(honest(2, first), BOB, facts=facts)


def _gated() -> Denied:
    named = [f"spiffe://example.org/human/{place}" for place in range(2)]
    gate = {"when": {"tool": "bank.pay"}, "threshold": 2, "approvers": named}
    tokens = honest(2, root(limits={"approval": [gate]}, home=HOME))
    return Denied(people(World()), tokens, BOB)


def _many() -> Denied:
    made = limited({"classes": ["read"], "purposes": ["a"]})
    world = ruled(made.world, two=f'@approval("1") forbid ({ACT});')
    world.authority.steering.suspend(world.caller, "tool", "bank.pay", "a test")
    return Denied(world, made.tokens, BOB, arguments={"amount": 500})


def replaced(made: Denied, arguments: Json) -> Denied:
    made.arguments = arguments
    return made


def told(made: Denied, **facts: Any) -> Denied:
    made.facts |= facts
    return made


ROWS = (
    Row(
        "a tool that the leaf lacks",
        lambda: under(chain_of(lambda p: child(p, BOB, tools={"mail.read": TOOLS["mail.read"]})), BOB),
        Reason.TOOL_NOT_GRANTED,
        ("grant",),
        ("hops.1.tools.bank.pay",),
    ),
    Row(
        "a tool that nobody has",
        lambda: under(honest(), tool="mail.send", arguments={"to": "x"}),
        Reason.TOOL_NOT_GRANTED,
        ("grant", "grant", "grant"),
        ("hops.0.tools.mail.send", "hops.2.tools.mail.send"),
    ),
    Row("above a range", lambda: constrained(rule("range", max=100), 500), Reason.CONSTRAINT_VIOLATED, ("request",)),
    Row(
        "below an open range",
        lambda: constrained(rule("range", min=10, min_inclusive=False), 3),
        Reason.CONSTRAINT_VIOLATED,
        ("request",),
    ),
    Row(
        "one of others",
        lambda: constrained(rule("one_of", values=["a", "b"]), "c"),
        Reason.CONSTRAINT_VIOLATED,
        ("request",),
    ),
    Row("not exactly", lambda: constrained(rule("exact", value=7), 8), Reason.CONSTRAINT_VIOLATED, ("request",)),
    Row(
        "a word that is excluded",
        lambda: constrained(rule("not_one_of", excluded=["a"]), "a"),
        Reason.CONSTRAINT_VIOLATED,
        ("grant", "grant", "grant"),
    ),
    Row(
        "a number that is excluded",
        lambda: constrained(rule("not_one_of", excluded=[3]), 3),
        Reason.CONSTRAINT_VIOLATED,
        ("request",),
    ),
    Row(
        "an element that lacks",
        lambda: constrained(rule("contains", required=["a"]), ["b"]),
        Reason.CONSTRAINT_VIOLATED,
        ("request",),
    ),
    Row(
        "an element too many",
        lambda: constrained(rule("subset", allowed=["a"]), ["a", "b"]),
        Reason.CONSTRAINT_VIOLATED,
        ("request",),
    ),
    Row(
        "a path outside",
        lambda: constrained(rule("path_containment", root="/srv/in"), "/etc/x"),
        Reason.CONSTRAINT_VIOLATED,
        ("request",),
    ),
    Row(
        "not all clauses",
        lambda: constrained(rule("all", constraints=[rule("range", min=1), rule("range", max=9)]), 12),
        Reason.CONSTRAINT_VIOLATED,
        ("request",),
    ),
    Row(
        "no clause",
        lambda: constrained(rule("any", constraints=[rule("exact", value="x"), rule("range", max=9)]), 12),
        Reason.CONSTRAINT_VIOLATED,
        ("request",),
    ),
    Row("another type", lambda: constrained(rule("range", max=9), "5"), Reason.CONSTRAINT_VIOLATED, ("request",)),
    Row(
        "an argument that lacks",
        lambda: under(honest(), arguments={}),
        Reason.ARGUMENT_MISSING,
        ("request",),
        ("arguments.amount",),
    ),
    Row("any argument that lacks", lambda: _missing(rule("wildcard")), Reason.ARGUMENT_MISSING, ("request",)),
    Row(
        "an argument too many",
        lambda: under(honest(), arguments={"amount": 5, "note": "x"}),
        Reason.ARGUMENT_NOT_GRANTED,
        ("request",),
        ("arguments.note",),
    ),
    Row(
        "a class",
        lambda: limited({"classes": ["read"]}),
        Reason.CLASS_NOT_GRANTED,
        ("grant",),
        ("hops.1.limits.classes",),
    ),
    Row(
        "a label that the point states",
        lambda: limited({"classification": "internal"}, classification="restricted"),
        Reason.CLASSIFICATION_EXCEEDED,
        ("request",),
        ("classification",),
    ),
    Row(
        "a label of the catalogue",
        lambda: limited({"classification": "public"}),
        Reason.CLASSIFICATION_EXCEEDED,
        ("grant",),
        ("hops.1.limits.classification",),
    ),
    Row(
        "another purpose",
        lambda: limited({"purposes": ["a.b"]}, purpose="c"),
        Reason.PURPOSE_MISMATCH,
        ("request",),
        ("purpose",),
    ),
    Row("no purpose", lambda: limited({"purposes": ["a.b"]}), Reason.PURPOSE_MISSING, ("request",), ("purpose",)),
    Row("no intent", _intended, Reason.INTENT_MISSING, ("request",), ("intent",)),
    Row("another intent", lambda: _intended(intent="e" * 43), Reason.INTENT_MISMATCH, ("request",), ("intent",)),
    Row(
        "another audience",
        lambda: under(honest(2, root(aud=OTHER)), BOB),
        Reason.AUDIENCE_MISMATCH,
        ("request",),
        ("audience",),
    ),
    Row(
        "no audience",
        lambda: under(honest(2, root(aud=OTHER)), BOB, facts={"audience": None}),
        Reason.AUDIENCE_MISSING,
        ("request",),
        ("audience",),
        real=False,
    ),
    Row("an end of the leaf", lambda: late(1), Reason.EXPIRED, ("grant",), ("hops.2.exp",)),
    Row("an end of all", lambda: late(3), Reason.EXPIRED, ("grant", "grant", "grant")),
    Row(
        "too long a life",
        lambda: under(honest(2), BOB, World(settings=Settings(max_lifetime=300))),
        Reason.LIFETIME_EXCEEDED,
        ("grant", "grant"),
    ),
    Row(
        "not yet",
        lambda: under(honest(2, root(iat=NOW + 100)), BOB),
        Reason.NOT_YET_VALID,
        ("state",),
        ("time",),
    ),
    Row("a hop that was revoked", lambda: revoked(1), Reason.REVOKED, ("state",), ("hops.1.revoked",)),
    Row("a holder that was revoked", struck, Reason.REVOKED, ("state",), real=False),
    Row("an agent", lambda: stopped("agent", "spiffe://example.org/agent/2"), Reason.SUSPENDED, ("state",)),
    Row("a trust domain", lambda: stopped("trust_domain", "example.org"), Reason.SUSPENDED, ("state",)),
    Row("a tool", lambda: stopped("tool", "bank.pay"), Reason.SUSPENDED, ("state",)),
    Row("everything", lambda: stopped("everything", "*", "quarantined"), Reason.QUARANTINED, ("state",)),
    Row(
        "nobody's key",
        lambda: under(honest(), world=World(enrolled=(ALICE, BOB))),
        Reason.HOLDER_UNKNOWN,
        ("state",),
    ),
    Row("too many calls", busy, Reason.RATE_LIMITED, ("state",), ("time",)),
    Row("no request id", unnamed, Reason.REQUEST_ID_MISSING, ("request",), ("request_id",)),
    Row(
        "no call left",
        lambda: budgeted({"calls": 1}, [{"amount": 1}]),
        Reason.BUDGET_EXCEEDED,
        ("grant", "grant"),
        ("hops.0.limits.budget.calls",),
        real=False,
    ),
    Row(
        "more than is left",
        lambda: budgeted({"amount": {"value": "10", "currency": "EUR", "argument": "amount"}}, [{"amount": 8}]),
        Reason.BUDGET_EXCEEDED,
        ("request",),
        ("arguments.amount",),
    ),
    Row(
        "no amount",
        lambda: budgeted(
            {"amount": {"value": "10", "currency": "EUR", "argument": "amount"}}, arguments={"amount": "x"}
        ),
        Reason.AMOUNT_UNREADABLE,
        ("request",),
        ("arguments.amount",),
    ),
    Row(
        "another home",
        lambda: under(honest(2, root(tools={"bank.pay": {}}, limits={"budget": {"calls": 5}}, home=OTHER)), BOB),
        Reason.STATE_UNAVAILABLE,
        ("grant",),
        ("hops.0.home",),
    ),
    Row(
        "a rule on amounts",
        lambda: replaced(policy(little=AMOUNT), {"amount": 80}),
        Reason.POLICY_DENIED,
        ("request",),
        ("arguments.amount",),
    ),
    Row(
        "a rule on labels",
        lambda: told(policy(clean=f'forbid ({ACT}) when {{ context.labels.contains("t") }};'), labels=("t",)),
        Reason.POLICY_DENIED,
        ("request",),
        ("labels",),
    ),
    Row("a rule on risk", risky, Reason.POLICY_DENIED, ("state",), ("principals.spiffe://example.org/agent/2.risk",)),
    Row(
        "a rule against the tool",
        lambda: policy(never=f'forbid ({ACT}) when {{ resource == Chain::Tool::"bank.pay" }};'),
        Reason.POLICY_DENIED,
        ("state",),
        ("policy.rules.never",),
    ),
    Row(
        "no rule that permits",
        lambda: priced(
            ruled(
                World(catalogue=PAYS),
                permits='@id("made") permit (principal, action == Chain::Action::"delegate", resource);',
            )
        ),
        Reason.POLICY_DENIED,
        ("state",),
        ("policy",),
    ),
    Row(
        "a rule on a hop's life",
        lambda: policy(brief=f"forbid ({HOP}) when {{ resource.lifetime > 400 }};"),
        Reason.POLICY_DENIED,
        ("grant", "grant"),
        ("hops.0.exp",),
    ),
    Row(
        "a hop that wants people",
        lambda: policy(asked=f'@approval("2") forbid ({HOP}) when {{ resource.depth > 0 }};'),
        Reason.HOP_UNAPPROVED,
        ("approval",),
        ("hops.1.approval",),
        real=False,
    ),
    Row(
        "a gate of the policy",
        lambda: policy(two=f'@approval("2") forbid ({ACT});'),
        Reason.APPROVAL_REQUIRED,
        ("approval",),
        ("approvals",),
    ),
    Row(
        "a gate of a hop",
        _gated,
        Reason.APPROVAL_REQUIRED,
        ("approval",),
        ("approvals",),
    ),
    Row(
        "many things at once",
        _many,
        Reason.CONSTRAINT_VIOLATED,
        ("approval", "grant", "request", "request", "state"),
    ),
)
