"""What if: hypotheses and simulations, to the wire and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, cast, get_args

from chain import mint
from chain.control import Scope
from chain.errors import InvalidRequestError
from chain.simulate import Simulation
from chain.supposed import Hypothesis
from chain.v1 import authorization_pb2
from chain.wire.decision import decision_from, decision_to
from chain.wire.delegation import digest_from, grant_to
from chain.wire.explanation import hop_from, hop_to

MAX_HOPS = 64
"""Hops and revocations that one hypothesis may add."""


class Supposing(NamedTuple):
    """A hypothesis on its way: the policy still as the files of its bundle.

    Attributes:
        hypothesis: all but the policy.
        policy: files of its bundle; empty for the one that is active.
    """

    hypothesis: Hypothesis
    policy: Mapping[str, str]


def hypothesis_to(hypothesis: Hypothesis, policy: Mapping[str, str]) -> authorization_pb2.Hypothesis:
    """Return the message of a hypothesis; `policy` holds the files of a bundle, or none.

    Raises:
        InvalidRequestError: it supposes what does not travel: a change's own suppositions, or a policy made here.
    """
    kept = replace(
        Hypothesis(),
        delegate=hypothesis.delegate,
        revoke=hypothesis.revoke,
        without_policy=hypothesis.without_policy,
        at=hypothesis.at,
        suspend=hypothesis.suspend,
        approved=hypothesis.approved,
        audience=hypothesis.audience,
    )
    if kept != hypothesis:
        raise InvalidRequestError("a service does not take this supposition")
    return authorization_pb2.Hypothesis(
        delegate_grants_json=[grant_to(grant) for grant in hypothesis.delegate],
        revoke=sorted(hypothesis.revoke),
        policy=dict(policy),
        without_policy=hypothesis.without_policy,
        at_seconds=0 if hypothesis.at is None else int(hypothesis.at),
        suspend=[
            authorization_pb2.HypotheticalSuspension(scope=scope, name=name) for scope, name in hypothesis.suspend
        ],
        approved=hypothesis.approved,
        audience=hypothesis.audience or "",
    )


def hypothesis_from(message: authorization_pb2.Hypothesis) -> Supposing:
    """Return what a message supposes.

    Raises:
        InvalidRequestError: too much, a grant that is none, a digest that is none, or a scope that is not known.
    """
    if len(message.delegate_grants_json) + len(message.revoke) + len(message.suspend) > MAX_HOPS:
        raise InvalidRequestError(f"more than {MAX_HOPS} suppositions")
    if any(one.scope not in get_args(Scope) for one in message.suspend):
        raise InvalidRequestError(f"a scope is one of {', '.join(get_args(Scope))}")
    hypothesis = Hypothesis(
        delegate=tuple(map(mint.grant, message.delegate_grants_json)),
        revoke=frozenset(map(digest_from, message.revoke)),
        without_policy=message.without_policy,
        at=message.at_seconds or None,
        suspend=tuple((cast("Scope", one.scope), one.name) for one in message.suspend),
        approved=message.approved,
        audience=message.audience or None,
    )
    return Supposing(hypothesis, dict(message.policy))


def simulation_to(simulation: Simulation) -> authorization_pb2.SimulateResponse:
    """Return the message of a simulation."""
    return authorization_pb2.SimulateResponse(
        now=decision_to(simulation.now), then=decision_to(simulation.then), hops=map(hop_to, simulation.hops)
    )


def simulation_from(message: authorization_pb2.SimulateResponse) -> Simulation:
    """Return the simulation that a message states."""
    return Simulation(decision_from(message.now), decision_from(message.then), tuple(map(hop_from, message.hops)))
