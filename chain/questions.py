"""What an authority is asked: to decide, to explain, to suppose, and to tell which delegations there are.

The law of this file: an answer changes nothing but what its own record says. Who may ask is the one table's word
(`chain.caller.ALLOWED`); whatever a decision needs and cannot read permits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from chain.caller import Caller
from chain.decision import Decision, Effect
from chain.desk import Chains, Desk, Presented, unread
from chain.errors import InvalidRequestError
from chain.explain import Explanation
from chain.pending import done
from chain.request import Request
from chain.simulate import Simulation
from chain.supposed import Hypothesis
from chain.view import Delegated, Page, Query

MAX_BATCH = 1_000
"""Checks in one batch."""


class Questions:
    """The questions that an authority answers. A base of `chain.authority.Authority`."""

    def __init__(self, desk: Desk) -> None:
        """Answer at a desk."""
        self._desk = desk

    def check(self, caller: Caller, presented: Presented, request: Request, at_least: int = 0) -> Decision:
        """Decide one call, record the decision, return it. See `begin_check`."""
        return self.begin_check(caller, [(presented, request)], at_least).result()[0]

    def begin_check(
        self,
        caller: Caller,
        calls: Sequence[tuple[Presented, Request]],
        at_least: int = 0,
        stop: Effect | None = None,
        chains: Chains | None = None,
    ) -> Future[list[Decision]]:
        """Decide calls together, in order.

        Args:
            caller: the enforcement point.
            calls: chains and requests; at most `MAX_BATCH`.
            at_least: a revision that the answers must know.
            stop: decide no further once this effect was given (AuthZEN batch semantics).
            chains: from `chains`, for calls that belong together and are decided in several commits.

        Returns:
            As many decisions as were made. A store that fails, a clock behind the ledger, and whatever else cannot be
            read, makes them denials.

        Raises:
            ForbiddenError: the caller may not ask.
            InvalidRequestError: too many calls.
        """
        caller.require("Check")
        if len(calls) > MAX_BATCH:
            raise InvalidRequestError(f"{len(calls)} checks in one batch, more than {MAX_BATCH}")
        try:
            return self._desk.begin(calls, caller, at_least, stop, chains)
        except Exception as error:  # noqa: BLE001 - whatever the decision needs and cannot read, nothing is permitted
            denial = unread(error, 0.0)
            self._desk.meter.refused(denial, len(calls))
            return done([denial] * len(calls))

    def chains(self) -> Chains:
        """Return a memory for the chains of one batch: each is resolved once."""
        return Chains(self._desk)

    def explain(self, caller: Caller, presented: Presented, request: Request) -> Explanation:
        """Decide as `check` would, now, and lay every hop open. Writes nothing, uses nothing up.

        Raises:
            ForbiddenError: the caller may not ask, or the chain is not its own.
        """
        caller.require("Explain")
        return self._desk.explain(caller, presented, request)

    def simulate(self, caller: Caller, presented: Presented, request: Request, hypothesis: Hypothesis) -> Simulation:
        """Decide as things stand, and as they would under a hypothesis. Writes nothing; the holder counts as proven.

        Raises:
            ForbiddenError: the caller may not ask.
        """
        caller.require("Simulate")
        return self._desk.simulate(presented, request, hypothesis)

    def get(self, caller: Caller, digest: bytes) -> Delegated:
        """Return one delegation.

        Raises:
            NotFoundError: there is none, or none that the caller may see.
        """
        caller.require("GetDelegation")
        return self._desk.lineage.get(caller, digest, self._desk.clock())

    def find(self, caller: Caller, query: Query) -> Page:
        """Return the delegations that a query names; an agent finds its own lineage only.

        Raises:
            NotFoundError: the query starts from a delegation that the caller may not see.
        """
        caller.require("ListDelegations")
        return self._desk.lineage.find(caller, query, self._desk.clock())
