"""Tiny bundles, and an authority that decides by them."""

from __future__ import annotations

from typing import Any

from chain.bundle import SCHEMA
from chain.bundles import default
from chain.catalog import Catalogue
from chain.control import Party, Standing
from chain.delegation import Chain
from chain.policy import Policy
from chain.policyload import prepare
from chain.state import LABELS
from chain.writing import Writing
from tests.support import ALICE, BOB, CAROL, CATALOGUE, World, child, root, seal

TYPES = default()[SCHEMA]
ANY_HOP = '@id("hop") permit (principal, action == Chain::Action::"delegate", resource);\n'
ANY_CALL = '@id("call") permit (principal, action in Chain::Action::"call", resource);\n'
ANY_APPROVER = '@id("approver") permit (principal, action == Chain::Action::"approve", resource);\n'
ANYTHING = ANY_HOP + ANY_CALL + ANY_APPROVER


def bundle(rules: str = ANYTHING, **more: str) -> dict[str, str]:
    """A bundle of one file of rules under the schema that ships."""
    return {SCHEMA: TYPES, "rules.cedar": rules} | more


def policy(files: dict[str, str] | None = None, catalogue: dict[str, Any] | None = None) -> Policy:
    """A policy that is asked without an authority."""
    known = Catalogue.model_validate(CATALOGUE if catalogue is None else catalogue)
    return prepare(bundle() if files is None else files, known, LABELS)


def activate(world: World, rules: str, **more: str) -> str:
    """Put rules in force, and return their digest."""
    return world.authority.policies.activate(world.caller, bundle(rules, **more)).digest


def stand(world: World, principal: str, **standing: Any) -> None:
    """Let a principal stand as a signal would."""

    def compose(writing: Writing) -> bytes:
        revision = writing.record("signalled", {"id": principal})
        writing.stand(writing.live.stand(principal, Standing(**standing), revision))
        return b"1"

    world.authority._desk.change(compose, None, int).result()


def agent(place: int) -> str:
    """The id of the key that `World` enrolled at this place: 0 the issuer's, then Alice's, Bob's and Carol's."""
    return f"spiffe://example.org/agent/{place}"


def three(**changed: Any) -> list[str]:
    """Alice's root, handed to Bob, handed to Carol."""
    first = seal(root(**changed))
    second = seal(child(first, BOB), ALICE)
    return [first, second, seal(child(second, CAROL), BOB)]


def parties(world: World, chain: Chain) -> tuple[Party, ...]:
    """The holders of a chain, as they stand now."""
    return tuple(world.authority._desk.live.party(hop.holder) for hop in chain.hops)
