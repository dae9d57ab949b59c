"""The policy: Cedar, asked about every hop and every call.

The law of this file: a policy can only narrow. What it does not permit is refused; so is whatever it cannot evaluate
(chain/engine.py). An outcome is a function of the bundle and of facts that are all part of the question, so that a
verdict on a hop is kept exactly as long as none of them changed.

What is remembered is bounded by its bytes, whatever a caller presents. Threads may share a policy: what is remembered
is never changed but replaced, each entry carries the parties that it holds for, and a reader compares them with those
of its own question; whatever two threads do to the memory costs a question, never an answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import cedarpy

from chain import entity
from chain.bundle import Bundle
from chain.catalog import Catalogue, Tool
from chain.control import Party
from chain.engine import Engine, unasked
from chain.entity import DELEGATION, PRINCIPAL, TOOL, Entity, Hop, Links, name_of
from chain.outcome import Asked, Judged, Outcome
from chain.recent import Weighed

MEMORY = 64 * 1024 * 1024
"""Bytes that one policy remembers, about: three quarters of it the entities of calls, the rest outcomes of hops."""

ENTRY = 1_024
"""Bytes of an entry beside its parties and its entities."""

PARTY = 32
"""Bytes of a reference to a party, and of a third of one that nobody enrolled: three entries share it."""

EXPANSION = 8
"""Bytes of memory for each byte of entities' text."""

Faults: TypeAlias = tuple[tuple[int, Outcome], ...]
"""Hops and what is against each."""

TOO_MUCH = Outcome(permitted=False, fault="the amount is more than a policy can compare")


class Policy:
    """A bundle, ready to be asked.

    Attributes:
        bundle: what it was made from.
        catalogue: the bundle's own, or the one that it was given.
        labels: data labels, lowest first.
    """

    def __init__(
        self, bundle: Bundle, catalogue: Catalogue, labels: tuple[str, ...], engine: Engine | None = None
    ) -> None:
        """Prepare.

        Args:
            bundle: validated.
            catalogue: of the authority, for a bundle that brings none.
            labels: data labels, lowest first.
            engine: with the bundle's rules, where somebody prepared one.

        Raises:
            PolicyError: the bundle's schema does not take the questions that are asked here.
        """
        self.bundle = bundle
        self.catalogue = catalogue if bundle.catalogue is None or engine is not None else bundle.catalogue
        self.labels = labels
        self._engine = Engine(bundle, labels) if engine is None else engine
        self._calls: Weighed[tuple[bytes, str], tuple[tuple[Party, ...], cedarpy.Entities]] = Weighed(MEMORY * 3 // 4)
        self._hops: Weighed[bytes, tuple[tuple[Party, ...], Outcome]] = Weighed(MEMORY // 8)
        self._faults: Weighed[bytes, tuple[tuple[Party, ...], Faults]] = Weighed(MEMORY // 8)

    @property
    def digest(self) -> str:
        """The bundle's, base64url."""
        return self.bundle.digest

    @property
    def gates(self) -> int:
        """How many rules hold back until people have approved."""
        return sum(rule.threshold > 0 for rule in self.bundle.rules.values())

    def under(self, catalogue: Catalogue) -> Policy:
        """Return the same rules over other tools, for suppositions; it remembers nothing of this one."""
        return Policy(self.bundle, catalogue, self.labels, self._engine)

    def fresh(self) -> Policy:
        """Return the same policy, which remembers nothing of this one: for what must not be answered from memory."""
        return self.under(self.catalogue)

    def without(self, rules: frozenset[str]) -> Policy:
        """Return the policy that lacks some rules, for suppositions; it remembers nothing of this one."""
        kept = replace(self.bundle, rules={name: rule for name, rule in self.bundle.rules.items() if name not in rules})
        return Policy(kept, self.catalogue, self.labels, Engine(kept, self.labels))

    def call(self, chain: Links, parties: tuple[Party, ...], asked: Asked) -> Outcome:
        """May the leaf's holder make this call?

        Args:
            chain: verified.
            parties: its holders, root first.
            asked: the call.
        """
        context = entity.call(chain.leaf.id, asked)
        if context is None:
            return TOO_MUCH
        tool = self.catalogue.tool(asked.tool)
        try:
            entities = self._about(chain, parties, asked.tool, tool)
        except ValueError as error:
            return unasked(error)
        return self._engine.ask(tool.action_class, name_of(parties[-1]), (TOOL, asked.tool), context, entities)

    def _about(self, chain: Links, parties: tuple[Party, ...], name: str, tool: Tool) -> cedarpy.Entities:
        """Return what is known of a call, or remember: a tool that the leaf does not give is not worth it."""
        leaf = chain.leaf
        known = self._calls.get((leaf.digest, name))
        if known is not None and known[0] == parties:
            return known[1]
        wanted = self._engine.slices[tool.action_class].read.attributes
        own = entity.told(entity.tool(name, tool, self.labels), wanted)
        text = json.dumps([own, *self._chain(chain, leaf, parties, tool.action_class)])
        entities = self._engine.entities(text)
        if name in leaf.grant.tools:
            self._calls.put((leaf.digest, name), (parties, entities), _weight(parties, text))
        return entities

    def _chain(self, chain: Links, hop: Hop, parties: tuple[Party, ...], action: str) -> list[Entity]:
        """Return of a hop, and of all above it, what the rules about an action can read."""
        read = self._engine.slices[action].read
        people = {name for kind, name in read.named if kind == PRINCIPAL}
        hops = {name for kind, name in read.named if kind == DELEGATION}
        shown = [one for one in chain.hops[: hop.hop] if one.id in hops] if hops else []
        found = entity.people(chain, hop, parties, people, read.attributes)
        told = (
            entity.delegation(chain, one, parties, self.catalogue, self.labels, read.attributes)
            for one in (*shown, hop)
        )
        return [*found, *told]

    def faults(self, chain: Links, parties: tuple[Party, ...]) -> Faults:
        """Return the hops that may not simply be made, and why.

        From memory where neither the chain nor its parties changed: nothing else is part of the question.
        """
        known = self._faults.get(chain.leaf.digest)
        if known is not None and known[0] == parties:
            return known[1]
        outcomes = [(hop.hop, self._stands(chain, hop, parties)) for hop in chain.hops]
        found = tuple(one for one in outcomes if not one[1].permitted)
        self._faults.put(chain.leaf.digest, (parties, found), _weight(parties) + ENTRY * len(found))
        return found

    def _stands(self, chain: Links, hop: Hop, parties: tuple[Party, ...]) -> Outcome:
        """Ask about one hop, or remember: a new leaf under known parents asks about itself alone."""
        known, concerned = self._hops.get(hop.digest), parties[: hop.hop + 1]
        if known is not None and known[0] == concerned:
            return known[1]
        outcome = self._hop(chain, hop, parties, ())
        self._hops.put(hop.digest, (concerned, outcome), _weight(concerned) + ENTRY)
        return outcome

    def hop(self, chain: Links, parties: tuple[Party, ...], approvers: Sequence[str]) -> Outcome:
        """May the leaf's hop be made, with these approvals?"""
        return self._hop(chain, chain.leaf, parties, approvers)

    def _hop(self, chain: Links, hop: Hop, parties: tuple[Party, ...], approvers: Sequence[str]) -> Outcome:
        try:
            entities = self._engine.entities(json.dumps(self._chain(chain, hop, parties, "delegate")))
        except ValueError as error:
            return unasked(error)
        context = {"approvals": entity.approvals(approvers)}
        by = entity.delegator(chain, hop, parties)
        return self._engine.ask("delegate", by, (DELEGATION, hop.id), context, entities)

    def approver(self, judged: Judged) -> Outcome:
        """Does this person's approval count?"""
        context = entity.approving(judged)
        if context is None:
            return TOO_MUCH
        read = self._engine.slices["approve"].read
        needed = {name for kind, name in read.named if kind == PRINCIPAL}
        needed |= {name_of(judged.requester), name_of(judged.approver)}
        people = {name_of(party): party for party in (*judged.ancestors, judged.requester, judged.approver)}
        known = [entity.principal(name, party) for name, party in people.items() if name in needed]
        known.append(entity.tool(judged.tool, self.catalogue.tool(judged.tool), self.labels))
        try:
            entities = self._engine.entities(json.dumps([entity.told(one, read.attributes) for one in known]))
        except ValueError as error:
            return unasked(error)
        return self._engine.ask("approve", name_of(judged.approver), (TOOL, judged.tool), context, entities)


def _weight(parties: tuple[Party, ...], text: str = "") -> int:
    return ENTRY + PARTY * len(parties) + EXPANSION * len(text)
