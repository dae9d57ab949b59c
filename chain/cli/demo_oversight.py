"""The second act of `chain demo`: people, budgets, suspension, risk and policy, on a chain that runs.

A conference has to be paid. Two agents share one purse; what is large takes two people; then an agent is suspended,
another one is suspected, and the policy changes under a chain that was good a moment before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chain import bundles, mint, signal
from chain.cli.demo_stage import AUTHORITY, SIGNALS
from chain.cli.demo_story import Call, Outcome, Step, Story, Told, fresh, refused, since
from chain.errors import ChainError
from chain.order import Issue

CONFERENCE: dict[str, Any] = {
    "tools": {
        "hotel.book": {"amount": {"constraint_type": "range", "min": 0, "max": 400}},
        "bank.transfer": {"amount": {"constraint_type": "range", "min": 0, "max": 400}},
    },
    "limits": {
        "classes": ["write", "act"],
        "purposes": ["travel"],
        "budget": {"amount": {"value": "500", "currency": "EUR", "argument": "amount"}},
    },
}

NO_WEB_BELOW = """
@id("web.depth")
@description("What strangers write is read by the first agent only.")
forbid (principal, action == Chain::Action::"read", resource)
when { resource.target == "web" && context.chain.depth > 0 };
"""


def _agent(name: str) -> str:
    return f"spiffe://demo.example/{name}"


def _issue(story: Story) -> Outcome:
    """Alice gives the orchestrator a purse for the conference; both agents get all of it, and share it."""
    order = Issue(
        holder=story.stage.keys["orchestrator"].key,
        grant=mint.grant(CONFERENCE),
        sub="alice",
        owner="travel-team",
        task="conference",
    )
    start = time.perf_counter()
    made = story.stage.clients["alice"].issue(order)
    ms = since(start)
    story.chapter = "conference-"
    story.holds("orchestrator", [made.token])
    return Outcome(Told("ISSUED"), ms, "500 EUR, whoever spends them")


def _share(to: str) -> Callable[[Story], Outcome]:
    tools = {"tools": CONFERENCE["tools"]}
    return lambda story: story.delegate("orchestrator", to, tools)


def _spend(who: str, tool: str, amount: int) -> Call:
    return Call(who, tool, {"amount": amount}, "travel.conference")


def _transfer(story: Story) -> Outcome:
    """The large one: the service answers with the request that people have to approve."""
    outcome = _spend("clerk", "bank.transfer", 90)(story)
    if story.decision is not None and story.decision.awaits is not None:
        story.request_id = story.decision.awaits.request_id
    return outcome


def _resolve(person: str) -> Callable[[Story], Outcome]:
    """Let somebody approve what the clerk waits for, as `chain approvals approve` does."""

    def resolve(story: Story) -> Outcome:
        approvals, key = story.stage.clients[person].approvals, story.stage.keys[person]
        asked = approvals.get(story.request_id)
        start = time.perf_counter()
        try:
            after = approvals.approve(asked, key, AUTHORITY)
        except ChainError as error:
            return refused(error, since(start))
        people = sum(vote.verdict == "approve" for vote in after.votes)
        return Outcome(Told("APPROVED", f"{people} of 2"), since(start), f"the request is {after.state}")

    return resolve


def _suspend(story: Story) -> Outcome:
    start = time.perf_counter()
    story.stage.clients["operator"].steering.suspend("agent", _agent("clerk"), "its host was broken into")
    return Outcome(Told("SUSPENDED"), since(start), "and all who work under it")


def _suspect(story: Story) -> Outcome:
    """The identity provider has seen something, and says so with a signed event."""
    event = signal.make(
        story.stage.keys["idp"],
        issuer=SIGNALS,
        audience=AUTHORITY,
        subject=_agent("payments"),
        event="risk-level-change",
        level="HIGH",
        jti=fresh(),
        now=int(time.time()),
    )
    start = time.perf_counter()
    story.stage.clients["operator"].steering.signal(event)
    return Outcome(Told("SIGNALLED", "risk is high"), since(start), "by the identity provider")


def _narrow(story: Story) -> Outcome:
    files = bundles.default() | {"web.cedar": NO_WEB_BELOW}
    start = time.perf_counter()
    story.stage.clients["operator"].policies.activate(files)
    return Outcome(Told("ACTIVATED"), since(start), "the web is read at depth 0 only")


_WAITS = Told("APPROVAL_REQUIRED", "approval_required")

STEPS: tuple[Step, ...] = (
    Step("alice", "Issue a conference's grant: 500 EUR in all", Told("ISSUED"), _issue),
    Step("orchestrator", "Delegate to payments: all of it", Told("DELEGATED"), _share("payments")),
    Step("orchestrator", "Delegate to clerk: all of it", Told("DELEGATED"), _share("clerk")),
    Step("payments", "hotel.book for 350", Told("ALLOW"), _spend("payments", "hotel.book", 350)),
    Step("clerk", "hotel.book for 200", Told("DENY", "budget_exceeded", 0), _spend("clerk", "hotel.book", 200)),
    Step("clerk", "hotel.book for 50", Told("ALLOW"), _spend("clerk", "hotel.book", 50)),
    Step("clerk", "bank.transfer 90", _WAITS, _transfer),
    Step("ann", "approves it", Told("APPROVED", "1 of 2"), _resolve("ann")),
    Step("clerk", "bank.transfer 90", _WAITS, _transfer),
    Step("ann", "approves it once more", Told("REFUSED", "approver_ineligible"), _resolve("ann")),
    Step("ben", "approves it", Told("APPROVED", "2 of 2"), _resolve("ben")),
    Step("clerk", "bank.transfer 91", _WAITS, _spend("clerk", "bank.transfer", 91)),
    Step("clerk", "bank.transfer 90", Told("ALLOW"), _transfer),
    Step("operator", "Suspend clerk", Told("SUSPENDED"), _suspend),
    Step("clerk", "hotel.book for 5", Told("DENY", "suspended", 1), _spend("clerk", "hotel.book", 5)),
    Step("payments", "hotel.book for 5", Told("ALLOW"), _spend("payments", "hotel.book", 5)),
    Step("idp", "Signal: payments is at high risk", Told("SIGNALLED", "risk is high"), _suspect),
    Step("payments", "hotel.book for 5", Told("DENY", "policy_denied"), _spend("payments", "hotel.book", 5)),
    Step("operator", "Activate a policy: web at depth 0 only", Told("ACTIVATED"), _narrow),
    Step(
        "researcher",
        "web.search, allowed by its chain as before",
        Told("DENY", "policy_denied"),
        Call("researcher", "web.search", {"query": "trams"}),
    ),
    Step("researcher", "mail.read receipts", Told("ALLOW"), Call("researcher", "mail.read", {"folder": "receipts"})),
)
