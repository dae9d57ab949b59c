"""The story that `chain demo` plays, step by step, each with what must come of it.

Alice wants a trip to Lisbon. She gives an orchestrator a grant; it hands parts of it to a researcher, who
reads, and to a payments agent, who pays; both hand on less. Then things go wrong, one after another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from chain import mint, proof, token
from chain.base64url import b64encode
from chain.cli.demo_stage import AUTHORITY, GATE, Agent, Stage
from chain.client.holding import Holding
from chain.decision import Decision
from chain.errors import ChainError, DeniedError, ExcessError, InvalidTokenError
from chain.order import Issue, Revoke
from chain.request import Request

AGENTS = (
    Agent("orchestrator"),
    Agent("researcher"),
    Agent("reader"),
    Agent("payments"),
    Agent("clerk"),
    Agent("thief", enrolled=False),
)

CATALOGUE = {
    "web.search": {"class": "read", "sensitivity": "low", "target": "web"},
    "mail.read": {"class": "read", "sensitivity": "moderate", "target": "mail"},
    "bank.pay": {"class": "act", "sensitivity": "moderate", "target": "bank"},
    "hotel.book": {"class": "write", "sensitivity": "moderate", "target": "hotels"},
    "bank.transfer": {
        "class": "act",
        "sensitivity": "critical",
        "target": "bank",
        "amount": {"argument": "amount", "currency": "EUR"},
    },
}

SHORT_LIFE = 3
"""Seconds that one delegation lives, to be seen dying: time for two calls on a slow machine, and no long wait."""


def _up_to(amount: int) -> dict[str, Any]:
    return {"amount": {"constraint_type": "range", "min": 0, "max": amount}}


_MAIL = {"folder": {"constraint_type": "one_of", "values": ["inbox", "receipts"]}}
_RECEIPTS = {"folder": {"constraint_type": "exact", "value": "receipts"}}
TRIP: dict[str, Any] = {
    "tools": {"web.search": {}, "mail.read": _MAIL, "bank.pay": _up_to(100)},
    "limits": {"classes": ["read", "act"], "purposes": ["travel"]},
}
READING = {"tools": {"web.search": {}, "mail.read": _RECEIPTS}, "limits": {"classes": ["read"]}}
SEARCHING: dict[str, Any] = {"tools": {"web.search": {}}}
PAYING = {"tools": {"bank.pay": _up_to(100)}, "limits": {"classes": ["act"]}}
SMALL = {"tools": {"bank.pay": _up_to(20)}}
LARGE = {"tools": {"bank.pay": _up_to(5000)}}


class Told(NamedTuple):
    """What a step must come to.

    Attributes:
        effect: ISSUED, DELEGATED, REVOKED, ALLOW, DENY or REFUSED.
        reason: code of a denial or refusal; else what the step says of itself.
        hop: where a denial or refusal lies.
    """

    effect: str
    reason: str = ""
    hop: int | None = None


class Outcome(NamedTuple):
    """What a step came to.

    Attributes:
        told: comparable with what was expected.
        detail: in words.
        field, parent, child: what an excess is about; empty elsewhere.
        ms: milliseconds from asking to the answer.
    """

    told: Told
    ms: float
    detail: str = ""
    field: str = ""
    parent: str = ""
    child: str = ""


class Step(NamedTuple):
    """One step, with its expectation."""

    who: str
    asked: str
    expected: Told
    play: Callable[[Story], Outcome]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that somebody makes, by who holds which chain."""

    who: str
    tool: str
    arguments: dict[str, Any]
    purpose: str = "travel.lisbon"

    def __call__(self, story: Story) -> Outcome:
        return story.ask(self.who, story.request(self))


class Story:
    """The story while it is played.

    Attributes:
        stage: where it plays.
        chains: who holds which chain by now.
        last, decision: what was asked last, and the answer.
        request_id: of the approval that somebody waits for.
        chapter: what the files of the chains made now begin with.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.chains: dict[str, list[str]] = {}
        self.last: Request | None = None
        self.decision: Decision | None = None
        self.request_id = ""
        self.chapter = ""

    def issue(self) -> Outcome:
        """Alice gives the orchestrator what the trip needs."""
        holder = self.stage.keys["orchestrator"].key
        order = Issue(
            holder=holder, grant=mint.grant(TRIP), lifetime=3600, sub="alice", owner="travel-team", task="lisbon"
        )
        start = time.perf_counter()
        made = self.stage.clients["alice"].issue(order)
        self.holds("orchestrator", [made.token])
        return Outcome(Told("ISSUED"), since(start), f"{len(TRIP['tools'])} tools for an hour")

    def delegate(self, who: str, to: str, grant: dict[str, Any], lifetime: int = 1800) -> Outcome:
        """Sign a child and register it; nothing is compared on this side, so that the service has to."""
        tokens = self.chains[who]
        child, made = self._child(who, to, grant, lifetime)
        start = time.perf_counter()
        try:
            self.stage.clients[who].delegate(tokens, child, made)
        except (InvalidTokenError, DeniedError) as error:
            return refused(error, since(start))
        ms = since(start)
        self.holds(to, [*tokens, child])
        return Outcome(Told("DELEGATED"), ms, f"to {to}")

    def ask(self, who: str, request: Request, tokens: list[str] | None = None) -> Outcome:
        """Let the gate in front of the tools ask; it sees only what the agent presents."""
        self.last = request
        start = time.perf_counter()
        self.decision = decision = self.stage.clients["gate"].check(tokens or self.chains[who], request)
        return _decided(decision, since(start))

    def request(self, call: Call) -> Request:
        """Return a call with its holder's proof."""
        holder = Holding(
            signer=self.stage.keys[call.who], tokens=self.chains[call.who], audience=GATE, purpose=call.purpose
        )
        return holder.asking(call.tool, call.arguments)

    def replay(self) -> Outcome:
        """The clerk's last call once more, with the very same proof."""
        if self.last is None:
            raise RuntimeError("nothing was asked before")
        return self.ask("clerk", self.last)

    def forge(self) -> Outcome:
        """The clerk signs itself a wider child, and presents it to the gate instead of registering it."""
        child, _ = self._child("clerk", "clerk", LARGE, 600)
        tokens = [*self.chains["clerk"], child]
        holder = Holding(signer=self.stage.keys["clerk"], tokens=tokens, audience=GATE, purpose="travel.lisbon")
        return self.ask("clerk", holder.asking("bank.pay", {"amount": 4000}), tokens)

    def steal(self) -> Outcome:
        """A thief has the clerk's chain, every byte of it, and only its own key."""
        arguments, facts = {"amount": 12}, {"purpose": "travel.lisbon"}
        leaf = mint.unverified(self.chains["clerk"][-1])
        made = proof.make(
            self.stage.keys["thief"],
            leaf,
            "bank.pay",
            arguments,
            audience=GATE,
            jti=fresh(),
            iat=int(time.time()),
            facts=facts,
        )
        return self.ask("clerk", Request(tool="bank.pay", arguments=arguments, proof=made, **facts))

    def outlive(self) -> Outcome:
        """The reader comes back when its delegation has died."""
        dies = mint.unverified(self.chains["reader"][-1]).exp
        time.sleep(max(0.0, dies + 0.05 - time.time()))
        return Call("reader", "web.search", {"query": "trams"})(self)

    def revoke(self) -> Outcome:
        """The orchestrator takes back what it gave to payments."""
        tokens = self.chains["orchestrator"]
        target = mint.unverified(self.chains["payments"][-1])
        made = self._proof("orchestrator", proof.REVOKE, {"target": target.id})
        start = time.perf_counter()
        fell = self.stage.clients["orchestrator"].revoke(Revoke(target.digest, "the trip is paid"), tokens, made)
        return Outcome(Told("REVOKED", f"{fell.count} fell"), since(start), "payments and all beneath it")

    def _child(self, who: str, to: str, grant: dict[str, Any], lifetime: int) -> tuple[str, str]:
        """Return a child token, and the proof that registers it."""
        claims = mint.child_claims(
            mint.unverified(self.chains[who][-1]),
            mint.grant(grant),
            self.stage.keys[to].key,
            jti=mint.uuid7(time.time(), os.urandom(10)),
            now=int(time.time()),
            lifetime=lifetime,
        )
        child = token.sign(claims, self.stage.keys[who])
        return child, self._proof(who, proof.DELEGATE, {"child": mint.unverified(child).id})

    def _proof(self, who: str, tool: str, arguments: dict[str, Any]) -> str:
        leaf, key = mint.unverified(self.chains[who][-1]), self.stage.keys[who]
        return proof.make(key, leaf, tool, arguments, audience=AUTHORITY, jti=fresh(), iat=int(time.time()))

    def holds(self, who: str, tokens: list[str]) -> None:
        """Give somebody a chain, and leave it for other commands."""
        self.chains[who] = tokens
        self.stage.keep(self.chapter + who, tokens)


def _delegating(who: str, to: str, grant: dict[str, Any], lifetime: int = 1800) -> Callable[[Story], Outcome]:
    return lambda story: story.delegate(who, to, grant, lifetime)


STEPS: tuple[Step, ...] = (
    Step("alice", "Issue a trip's grant to the orchestrator", Told("ISSUED"), Story.issue),
    Step(
        "orchestrator",
        "Delegate to researcher: search, read receipts",
        Told("DELEGATED"),
        _delegating("orchestrator", "researcher", READING),
    ),
    Step(
        "orchestrator",
        "Delegate to payments: pay up to 100",
        Told("DELEGATED"),
        _delegating("orchestrator", "payments", PAYING),
    ),
    Step(
        "researcher",
        f"Delegate to reader: search, for {SHORT_LIFE} s",
        Told("DELEGATED"),
        _delegating("researcher", "reader", SEARCHING, SHORT_LIFE),
    ),
    Step("reader", "web.search", Told("ALLOW"), Call("reader", "web.search", {"query": "trams"})),
    Step("payments", "Delegate to clerk: pay up to 20", Told("DELEGATED"), _delegating("payments", "clerk", SMALL)),
    Step("researcher", "mail.read receipts", Told("ALLOW"), Call("researcher", "mail.read", {"folder": "receipts"})),
    Step("clerk", "bank.pay 12", Told("ALLOW"), Call("clerk", "bank.pay", {"amount": 12})),
    Step("clerk", "the same call and proof again", Told("DENY", "replay", 2), Story.replay),
    Step("clerk", "bank.pay 80", Told("DENY", "constraint_violated", 2), Call("clerk", "bank.pay", {"amount": 80})),
    Step(
        "researcher",
        "mail.read inbox",
        Told("DENY", "constraint_violated", 1),
        Call("researcher", "mail.read", {"folder": "inbox"}),
    ),
    Step(
        "researcher",
        "bank.pay 5",
        Told("DENY", "tool_not_granted", 1),
        Call("researcher", "bank.pay", {"amount": 5}),
    ),
    Step(
        "clerk",
        "bank.pay 12, for another purpose",
        Told("DENY", "purpose_mismatch", 0),
        Call("clerk", "bank.pay", {"amount": 12}, "gifts"),
    ),
    Step(
        "payments",
        "Delegate to clerk: pay up to 5000",
        Told("REFUSED", "constraint_widened", 2),
        _delegating("payments", "clerk", LARGE),
    ),
    Step("clerk", "bank.pay 4000, with a child forged offline", Told("DENY", "constraint_widened", 3), Story.forge),
    Step("thief", "bank.pay 12, with the clerk's tokens", Told("DENY", "holder_mismatch", 2), Story.steal),
    Step("orchestrator", "Revoke what payments holds", Told("REVOKED", "2 fell"), Story.revoke),
    Step("clerk", "bank.pay 12", Told("DENY", "revoked", 1), Call("clerk", "bank.pay", {"amount": 12})),
    Step(
        "payments",
        "Delegate to clerk: pay up to 20",
        Told("REFUSED", "revoked", 1),
        _delegating("payments", "clerk", SMALL),
    ),
    Step(
        "researcher",
        "mail.read receipts: the sibling lives on",
        Told("ALLOW"),
        Call("researcher", "mail.read", {"folder": "receipts"}),
    ),
    Step("reader", f"web.search, after {SHORT_LIFE} s", Told("DENY", "expired", 2), Story.outlive),
)


def _decided(decision: Decision, ms: float) -> Outcome:
    reason = "" if decision.allowed else decision.reason.value
    told = Told(decision.effect.value, reason, decision.hop)
    return Outcome(told, ms, decision.findings[0].detail if decision.findings else "every hop permits it")


def refused(error: ChainError, ms: float) -> Outcome:
    """Return the outcome of a change that was refused."""
    if isinstance(error, ExcessError):
        told = Told("REFUSED", error.reason.value, error.hop)
        return Outcome(told, ms, error.detail, error.field, error.parent, error.child)
    if isinstance(error, DeniedError):
        outcome = _decided(error.decision, ms)
        return outcome._replace(told=outcome.told._replace(effect="REFUSED"))
    hop = error.hop if isinstance(error, InvalidTokenError) else None
    return Outcome(Told("REFUSED", error.reason.value, hop), ms, error.detail)


def since(start: float) -> float:
    """Return milliseconds from `start` on."""
    return (time.perf_counter() - start) * 1000


def fresh() -> str:
    """Return what nobody can guess."""
    return b64encode(os.urandom(16))
