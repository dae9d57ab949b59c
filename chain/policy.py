"""The policy: Cedar, asked about every hop and every call.

The law of this file: a policy can only narrow. What it does not permit is refused; so is whatever it cannot evaluate
(chain/engine.py). An outcome is a function of the bundle and of facts that are all part of the question, so that a
verdict on a hop is kept exactly as long as none of them changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cedarpy

from chain import entity
from chain.bundle import Bundle
from chain.catalog import Catalogue, Tool
from chain.control import Party
from chain.engine import Engine
from chain.entity import DELEGATION, TOOL, Entity, Hop, Links, name_of
from chain.errors import clip
from chain.outcome import Asked, Judged, Outcome
from chain.recent import Recent

CHAINS = 8_192
"""Chains whose entities are remembered, in each of two generations; some 20 kB each."""

TOOLS = 64
"""Tools remembered with one chain: an agent calls a few, and a hostile one names as many as it likes."""

TOO_MUCH = Outcome(permitted=False, fault="the amount is more than a policy can compare")


class _Known(NamedTuple):
    """What is remembered of one chain: entities that hold while its parties are the same."""

    parties: tuple[Party, ...]
    entities: cedarpy.Entities
    by_tool: dict[str, cedarpy.Entities]
    faults: tuple[tuple[int, Outcome], ...] | None = None


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
        self._chains: Recent[bytes, _Known] = Recent(CHAINS)
        self._hops: Recent[bytes, tuple[tuple[Party, ...], Outcome]] = Recent(8 * CHAINS)

    @property
    def digest(self) -> str:
        """The bundle's, base64url."""
        return self.bundle.digest

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
            entities = self._with_tool(self._known(chain, parties), asked.tool, tool)
        except ValueError as error:
            return Outcome(permitted=False, fault=clip(str(error)))
        return self._engine.ask(tool.action_class, name_of(parties[-1]), (TOOL, asked.tool), context, entities)

    def _with_tool(self, known: _Known, name: str, tool: Tool) -> cedarpy.Entities:
        entities = known.by_tool.get(name)
        if entities is None:
            entities = known.entities.with_added_json_str(json.dumps([entity.tool(name, tool, self.labels)]))
            if len(known.by_tool) < TOOLS:
                known.by_tool[name] = entities
        return entities

    def faults(self, chain: Links, parties: tuple[Party, ...]) -> tuple[tuple[int, Outcome], ...]:
        """Return the hops that may not simply be made, and why.

        From memory where neither the chain nor its parties changed: nothing else is part of the question.
        """
        known = self._chains.get(chain.leaf.digest)
        if known is not None and known.parties == parties and known.faults is not None:
            return known.faults
        outcomes = [(hop.hop, self._stands(chain, hop, parties)) for hop in chain.hops]
        found = tuple(one for one in outcomes if not one[1].permitted)
        known = self._chains.get(chain.leaf.digest)
        if known is not None and known.parties == parties:
            self._chains.put(chain.leaf.digest, known._replace(faults=found))
        return found

    def _stands(self, chain: Links, hop: Hop, parties: tuple[Party, ...]) -> Outcome:
        """Ask about one hop, or remember: a new leaf under known parents asks about itself alone."""
        known, concerned = self._hops.get(hop.digest), parties[: hop.hop + 1]
        if known is not None and known[0] == concerned:
            return known[1]
        outcome = self._hop(chain, hop, parties, ())
        self._hops.put(hop.digest, (concerned, outcome))
        return outcome

    def hop(self, chain: Links, parties: tuple[Party, ...], approvers: Sequence[str]) -> Outcome:
        """May the leaf's hop be made, with these approvals?"""
        return self._hop(chain, chain.leaf, parties, approvers)

    def _hop(self, chain: Links, hop: Hop, parties: tuple[Party, ...], approvers: Sequence[str]) -> Outcome:
        by = name_of(parties[hop.hop - 1]) if hop.hop else chain.issuer
        try:
            entities = self._known(chain, parties).entities
        except ValueError as error:
            return Outcome(permitted=False, fault=clip(str(error)))
        context = {"approvals": entity.approvals(approvers)}
        return self._engine.ask("delegate", by, (DELEGATION, hop.id), context, entities)

    def approver(self, judged: Judged) -> Outcome:
        """Does this person's approval count?"""
        context = entity.approving(judged)
        if context is None:
            return TOO_MUCH
        people = {name_of(party): party for party in (*judged.ancestors, judged.requester, judged.approver)}
        known = [entity.principal(name, party) for name, party in people.items()]
        known.append(entity.tool(judged.tool, self.catalogue.tool(judged.tool), self.labels))
        try:
            entities = self._engine.entities(known)
        except ValueError as error:
            return Outcome(permitted=False, fault=clip(str(error)))
        return self._engine.ask("approve", name_of(judged.approver), (TOOL, judged.tool), context, entities)

    def _known(self, chain: Links, parties: tuple[Party, ...]) -> _Known:
        known = self._chains.get(chain.leaf.digest)
        if known is None or known.parties != parties:
            people: dict[str, Entity] = {chain.issuer: entity.issuer(chain.issuer)}
            people |= {(name := name_of(party)): entity.principal(name, party) for party in parties}
            hops = [entity.delegation(chain, hop, parties, self.catalogue, self.labels) for hop in chain.hops]
            known = _Known(parties, self._engine.entities([*people.values(), *hops]), {})
            self._chains.put(chain.leaf.digest, known)
        return known
