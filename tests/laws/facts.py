"""Situations for the laws: chains, calls, and what else may stand against them, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st

from chain.budget import Spent
from chain.bundle import load
from chain.bundles import default
from chain.catalog import Catalogue
from chain.control import EVERYTHING, Controls, Mode, Party, Scope, Standing, Suspension
from chain.delegation import Chain
from chain.grant import LABELS
from chain.live import Live
from chain.policy import Policy
from chain.request import Request
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    CATALOGUE,
    HOLDERS,
    HOME,
    NOW,
    PEP,
    ROOT_KEY,
    Json,
    World,
    child,
    root,
    seal,
)

TASK = "task-7"
TOOLS: Json = {"mail.read": {}, "mail.send": {}, "bank.pay": {}, "unlisted": {}}
LIMITS: list[Json] = [
    {},
    {"classes": ["read", "write", "act"]},
    {"classes": ["read"]},
    {"purposes": ["travel"]},
    {"classification": "internal"},
    {"budget": {"calls": 3}},
    {"budget": {"amount": {"value": "50", "currency": "EUR", "argument": "amount"}}},
]
GATE: Json = {"when": {"class": "act"}, "threshold": 1, "approvers": ["spiffe://example.org/human/ann"]}


class Situation(NamedTuple):
    """A chain and a call.

    Attributes:
        hops: how long the chain is.
        limits: of every hop.
        gated: whether the root has a gate as well.
        request: the call; its holder is set to the leaf's, unless `stranger`.
        stranger: whether somebody else asks.
        late: whether the chain has expired.
    """

    hops: int
    limits: int
    gated: bool
    request: Request
    stranger: bool
    late: bool

    @property
    def now(self) -> float:
        return NOW + (10_000 if self.late else 0)

    def chain(self) -> Chain:
        return _chain(self.hops, self.limits, self.gated)

    def asked(self) -> Request:
        holder = ROOT_KEY if self.stranger else HOLDERS[self.hops - 1]
        return self.request.model_copy(update={"holder": holder.key.thumbprint})


@cache
def _chain(hops: int, limits: int, gated: bool) -> Chain:
    given = LIMITS[limits] | ({"approval": [GATE]} if gated else {})
    facts: Json = {"home": HOME, "txn": TASK}
    tokens = [seal(root(ALICE, TOOLS, given or None, **facts))]
    for by, to in ((ALICE, BOB), (BOB, CAROL))[: hops - 1]:
        tokens.append(seal(child(tokens[-1], to), by))
    return World().accepted(tokens)


@cache
def _roots() -> frozenset[bytes]:
    """The root of every chain that a situation can have."""
    return frozenset(_chain(1, limits, gated).root.digest for limits in range(len(LIMITS)) for gated in (False, True))


requests = st.builds(
    Request,
    tool=st.sampled_from([*TOOLS, "strange"]),
    arguments=st.sampled_from([{}, {"amount": 5}, {"amount": "60"}, {"amount": "x"}]),
    purpose=st.sampled_from([None, "travel", "travel.hotel", "mail"]),
    labels=st.sampled_from([(), ("untrusted_input",)]),
    audience=st.just(PEP),
    request_id=st.sampled_from([None, "0123456789abcdef"]),
)
situations = st.builds(
    Situation,
    hops=st.integers(1, 3),
    limits=st.integers(0, len(LIMITS) - 1),
    gated=st.booleans(),
    request=requests,
    stranger=st.sampled_from([False, False, False, True]),
    late=st.sampled_from([False, False, False, True]),
)


class Facts:
    """The live facts of a world with some others in front of them (`chain.state.State`)."""

    def __init__(self, live: Live, **instead: Any) -> None:
        self.live = live
        self.instead = instead
        self.controls: Controls = instead.get("controls", live.controls)

    def __getattr__(self, name: str) -> Any:
        return self.instead[name] if name in self.instead else getattr(self.live, name)

    def party(self, thumbprint: str) -> Party:
        principal = self.live.principal(thumbprint)
        return Party(thumbprint, principal, self.controls.standing(principal))

    def stopped(self, thumbprint: str, now: float) -> Iterable[Suspension]:
        return Live.stopped(self, thumbprint, now)  # type: ignore[arg-type] # it reads what any state has


class Control(NamedTuple):
    """One more thing that stands against calls, or may."""

    name: str
    add: Callable[[dict[str, Any]], None]


def _suspension(scope: Scope, name: str, mode: Mode = "suspended") -> Control:
    def add(facts: dict[str, Any]) -> None:
        facts["controls"].suspensions[scope, name] = Suspension(scope, name, mode, "a law", "nobody", NOW)

    return Control(f"{mode} {scope} {name}", add)


def _strike(kind: str, name: str) -> Control:
    return Control(f"struck {kind}", lambda facts: facts["controls"].struck.add((kind, name)))


def _risk(principal: str, risk: Any) -> Control:
    def add(facts: dict[str, Any]) -> None:
        facts["controls"].standings[principal] = Standing(risk=risk)

    return Control(f"{risk} risk of {principal}", add)


def _spent(calls: int, amount: str) -> Control:
    return Control(f"spent {calls} {amount}", lambda facts: facts.update(spent=lambda _: Spent(calls, Decimal(amount))))


AGENT = "spiffe://example.org/agent/{}".format
CONTROLS: list[Control] = [
    _suspension("agent", AGENT(1)),
    _suspension("agent", AGENT(3), "quarantined"),
    _suspension("trust_domain", "example.org"),
    _suspension("task", TASK),
    _suspension("tool", "bank.pay"),
    _suspension("tool", "mail.read", "quarantined"),
    _suspension("everything", EVERYTHING, "quarantined"),
    _strike("holder", BOB.key.thumbprint),
    _strike("task", TASK),
    _strike("key", ALICE.key.thumbprint),
    _strike("issuer", "https://issuer.example"),
    _spent(2, "49"),
    _spent(3, "50"),
    _risk(AGENT(1), "high"),
    _risk(AGENT(2), "medium"),
    Control("too often", lambda facts: facts.update(rested=lambda *_: 7.0)),
    Control("used before", lambda facts: facts.update(seen=lambda *_: True)),
    Control("nobody enrolled", lambda facts: facts.update(principal=lambda _: None)),
    Control("revoked", lambda facts: facts.update(revoked=_roots())),
    Control("policy", lambda facts: facts.update(policy=policy())),
]

FORBIDS = {
    "plain": 'forbid (principal, action == Chain::Action::"act", resource);',
    "labels": 'forbid (principal, action, resource) when { context has labels && context.labels.contains("x") };',
    "gate": '@approval("2") forbid (principal, action == Chain::Action::"read", resource);',
    "hop": 'forbid (principal, action == Chain::Action::"delegate", resource) when { resource.depth > 1 };',
    "hop gate": '@approval("1") forbid (principal, action == Chain::Action::"delegate", resource);',
    "tool": 'forbid (principal, action, resource == Chain::Tool::"mail.send");',
}
"""Rules that only forbid; each gets its id."""


@cache
def policy(*forbids: str) -> Policy:
    """The default bundle, with more of them."""
    rules = "\n".join(f'@id("law.{name.replace(" ", "-")}")\n{FORBIDS[name]}' for name in forbids)
    files = default() | ({"law.cedar": rules} if rules else {})
    return Policy(load(files), Catalogue.model_validate(CATALOGUE), LABELS)


def facts(live: Live, controls: Iterable[Control], **instead: Any) -> Facts:
    made: dict[str, Any] = {"controls": Controls()} | instead
    for control in controls:
        control.add(made)
    return Facts(live, **made)
