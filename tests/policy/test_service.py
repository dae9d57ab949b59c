"""Policies over gRPC: the same facets, the same errors, and digest and rules in every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.bundles import default
from chain.client import AsyncClient, Client
from chain.decision import Effect
from chain.errors import ConflictError, ForbiddenError, InvalidRequestError, NotFoundError, PolicyError
from chain.policyview import Relation
from chain.reason import Reason
from chain.request import Request
from chain.store.memory import MemoryStore
from chain.v1 import policy_pb2
from chain.wire.policy import activate_from, difference_from
from tests.policy.folder import ANY_HOP, ANYTHING, bundle
from tests.service.conftest import PEP, World, secret

Serve = Callable[..., Any]
READ = Request(tool="mail.read", arguments={"folder": "in"}, audience=PEP)
FORBID = '@id("stop") forbid (principal, action == Chain::Action::"read", resource);'


async def asked(world: World, token: str) -> Any:
    async with AsyncClient(world.server.address, secret("point"), timeout=20) as point:
        proof = world.proof("alice", token, READ.tool, READ.arguments)
        return await point.check([token], READ.model_copy(update={"proof": proof}))


async def test_a_bundle_is_validated_tested_activated_shown_and_put_out_of_force(serve: Serve) -> None:
    world = await serve()
    token = await world.root()
    async with AsyncClient(world.server.address, secret("operator"), timeout=20) as operator:
        policies = operator.policies
        with pytest.raises(NotFoundError, match="no policy is active"):
            await policies.get()
        found = await policies.validate(default())
        assert (found.cases, len(found.rules)) == (49, 17)
        gate = next(rule for rule in found.rules if rule.id == "approval.critical")
        assert (gate.file, gate.effect, gate.threshold) == ("approvals.cedar", "forbid", 2)
        assert gate.note.startswith("A critical action")
        ran = await policies.test(default())
        assert (len(ran), all(one.passed for one in ran)) == (49, True)
        assert (await asked(world, token)).policy == ""
        first = await policies.activate(default())
        decision = await asked(world, token)
        assert (decision.effect, decision.policy, decision.rules) == (Effect.ALLOW, first.digest, ("call.read",))
        second = await policies.activate(bundle(ANYTHING + FORBID))
        assert second.previous == first.digest == found.digest
        decision = await asked(world, token)
        assert (decision.effect, decision.reason) == (Effect.DENY, Reason.POLICY_DENIED)
        assert (decision.policy, decision.rules) == (second.digest, ("stop",))
        shown = await policies.get()
        assert (shown.digest, shown.active, shown.by) == (second.digest, True, "operator")
        assert shown.at > 0
        before = await policies.get(first.digest)
        assert (before.active, before.by, dict(before.files)) == (False, "", default())
        assert await policies.files(second.digest) == bundle(ANYTHING + FORBID)
        done = await policies.activate(None)
        assert (done.digest, done.previous) == ("", second.digest)
        assert (await asked(world, token)).policy == ""


async def test_what_does_not_validate_is_told_and_changes_nothing(serve: Serve) -> None:
    world = await serve()
    token = await world.root()
    broken = bundle('@id("a") permit (principal, action, resource) when { principal.knd == "x" };')
    async with AsyncClient(world.server.address, secret("operator"), timeout=20) as operator:
        digest = (await operator.policies.activate(bundle())).digest
        for ask in (operator.policies.validate, operator.policies.test, operator.policies.activate):
            with pytest.raises(PolicyError, match=r"rules\.cedar:1: `a`: attribute `knd`") as raised:
                await ask(broken)
            assert raised.value.reason is Reason.POLICY_INVALID
        with pytest.raises(PolicyError, match=r"needs a `schema\.cedarschema`"):
            await operator.policies.activate({})
        with pytest.raises(NotFoundError):
            await operator.policies.get("A" * 43)
    assert (await asked(world, token)).policy == digest


async def test_a_key_names_one_activation(serve: Serve) -> None:
    world = await serve()
    async with AsyncClient(world.server.address, secret("operator"), timeout=20) as operator:
        first = await operator.policies.activate(bundle(), "key")
        assert (await operator.policies.activate(bundle(), "key")) == first
        with pytest.raises(ConflictError):
            await operator.policies.activate(None, "key")


async def test_roles_are_asked(serve: Serve) -> None:
    world = await serve()
    async with AsyncClient(world.server.address, secret("auditor"), timeout=20) as auditor:
        assert (await auditor.policies.validate(bundle())).cases == 0
        with pytest.raises(ForbiddenError):
            await auditor.policies.activate(bundle())
    async with AsyncClient(world.server.address, secret("alice"), timeout=20) as agent:
        for ask in (agent.policies.validate, agent.policies.test, agent.policies.activate):
            with pytest.raises(ForbiddenError):
                await ask(bundle())
        with pytest.raises(ForbiddenError):
            await agent.policies.get()
        with pytest.raises(ForbiddenError):
            await agent.policies.diff(bundle(), bundle())


async def test_a_comparison_replays_while_checks_are_answered(serve: Serve) -> None:
    world = await serve()
    token = await world.root()
    async with AsyncClient(world.server.address, secret("operator"), timeout=1) as operator:
        await operator.policies.activate(bundle())
        decision = await asked(world, token)
        comparing = asyncio.create_task(operator.policies.diff(None, bundle(ANY_HOP), 100))
        assert (await asked(world, token)).allowed
        found = await comparing
    assert found.relation is Relation.NARROWER
    assert found.tried > 0
    assert decision.id in {flip.id for flip in found.replay.flips}
    assert {(flip.before, flip.after, flip.detail) for flip in found.replay.flips} == {
        ("ALLOW", "DENY", "no rule permits it")
    }
    assert found.witnesses
    assert (str(found.witnesses[0].before), str(found.witnesses[0].after)) == ("permit", "deny")


async def test_a_restart_goes_on_with_what_was_active(serve: Serve, directory: Path) -> None:
    store = MemoryStore()
    first = await serve(store)
    async with AsyncClient(first.server.address, secret("operator"), timeout=20) as operator:
        digest = (await operator.policies.activate(bundle())).digest
    second = await serve(store, sockets=directory / "again")
    async with AsyncClient(second.server.address, secret("operator"), timeout=20) as operator:
        assert (await operator.policies.get()).digest == digest


async def test_the_client_for_threads_says_the_same(serve: Serve) -> None:
    world = await serve()

    def work() -> None:
        with Client(world.server.address, secret("operator"), timeout=20) as operator:
            policies = operator.policies
            digest = policies.validate(bundle()).digest
            assert policies.test(bundle()) == ()
            assert policies.activate(bundle()).digest == digest
            assert policies.get().digest == digest
            assert policies.files() == bundle()
            found = policies.diff(None, bundle())
            assert (found.relation, found.tried) == (Relation.EQUAL, 0)
            assert policies.activate(None).digest == ""

    await asyncio.to_thread(work)


def test_a_message_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(ValueError, match="not known"):
        difference_from(policy_pb2.DiffPolicyResponse(tried=3))
    with pytest.raises(InvalidRequestError, match="either files"):
        activate_from(policy_pb2.ActivatePolicyRequest(files={"a": ""}, deactivate=True))
