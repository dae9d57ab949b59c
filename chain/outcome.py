"""What a policy is asked, and what it says: values, without the engine that answers.

The law of this file: a leaf of the decision. Whoever only decides without a policy does not load one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from chain.catalog import Catalogue
from chain.control import Party
from chain.decision import Obligation
from chain.delegation import Chain


class Gate(NamedTuple):
    """A rule that asks for people, and how many."""

    rule: str
    threshold: int


class Outcome(NamedTuple):
    """What the policy says of one question.

    Attributes:
        permitted: whether it stands as it is.
        rules: ids of the rules that determined that; none where no rule permits.
        gates: what it waits for, where people could still permit it.
        fault: that it could not be evaluated, and of which rule, in words that quote no value.
        beside: gates that spoke beside what forbids it; they hold where that is in shadow.
        obligations: what the enforcement point has to do for the permission to stand.
        cause: the engine's own words about `fault`, with values: for who tests a policy, never for an agent.
    """

    permitted: bool
    rules: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    fault: str | None = None
    beside: tuple[Gate, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    cause: str = ""

    @property
    def words(self) -> str:
        """Why it is not permitted."""
        if self.fault is not None:
            return self.fault
        return "no rule permits it" if not self.rules else "forbidden by " + ", ".join(f"`{r}`" for r in self.rules)


class Asked(NamedTuple):
    """What a call adds to its chain.

    Attributes:
        tool: its name; the catalogue says the rest.
        purpose, intent, audience: as the request states them; empty where it does not.
        labels: of the prompt, by the agent.
        classification: effective label of the data.
        age: seconds since the root was signed.
        amount: money that it moves, where it can be told.
        approvers: distinct people whose approval counts.
        currency: of the amount; empty where it moves none.
    """

    tool: str
    purpose: str
    intent: str
    audience: str
    labels: Sequence[str]
    classification: str
    age: int
    amount: Decimal | None
    approvers: Sequence[str] = ()
    currency: str = ""


class Judged(NamedTuple):
    """Whose approval of what is judged.

    Attributes:
        approver: the person.
        requester: who asked for it.
        ancestors: every holder of the chain.
        tool, subject, task, purpose, amount, currency: of what was asked.
        emergency: whether the glass was broken.
    """

    approver: Party
    requester: Party
    ancestors: Sequence[Party]
    tool: str
    subject: str
    task: str
    purpose: str
    amount: Decimal | None
    emergency: bool
    currency: str = ""


class PolicyView(Protocol):
    """What a decision asks of a policy (`chain.policy.Policy`)."""

    @property
    def digest(self) -> str:
        """The bundle's, base64url."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """What each tool is."""
        ...

    @property
    def gates(self) -> int:
        """How many rules hold back until people have approved."""
        ...

    def call(self, chain: Chain, parties: tuple[Party, ...], asked: Asked) -> Outcome:
        """May the leaf's holder make this call?"""
        ...

    def faults(self, chain: Chain, parties: tuple[Party, ...]) -> Iterable[tuple[int, Outcome]]:
        """Return the hops that may not simply be made, and why."""
        ...

    def hop(self, chain: Chain, parties: tuple[Party, ...], approvers: Sequence[str]) -> Outcome:
        """May the leaf's hop be made, with these approvals?"""
        ...

    def approver(self, judged: Judged) -> Outcome:
        """Does this person's approval count?"""
        ...

    def fresh(self) -> PolicyView:
        """Return the same policy with nothing remembered."""
        ...

    def without(self, rules: frozenset[str]) -> PolicyView:
        """Return the policy that lacks some rules, with nothing remembered."""
        ...
