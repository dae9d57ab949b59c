"""Verdicts on hops are remembered exactly as long as nothing that they depend on changed: no stale ALLOW, ever."""

from __future__ import annotations

from itertools import pairwise, product
from threading import Thread

import pytest

from chain.bundles import default
from chain.control import Party, Standing
from chain.decision import Decision, Effect
from chain.errors import DeniedError
from chain.outcome import Asked
from chain.principal import Principal
from chain.reason import Reason
from chain.recent import Weighed
from tests.policy.folder import ANY_CALL, ANY_HOP, ANYTHING, activate, agent, parties, stand, three
from tests.support import ALICE, BOB, CAROL, HOME, MALLORY, NOW, ROOT_KEY, World, child, digest_of, root, seal, signer

LOW = """
@id("low") permit (principal, action == Chain::Action::"delegate", resource) when { principal.risk == "low" };
"""
NOT_BELOW_ONE = """
@id("domain") forbid (principal, action == Chain::Action::"delegate", resource)
when { resource.depth > 1 && resource.holder.trust_domain != "acme.test" };
"""


def test_a_change_of_risk_turns_the_next_call_and_back(world: World) -> None:
    activate(world, LOW + ANY_CALL)
    tokens, stale = three(), 0
    for risk, who in product(("high", "low", "medium", "low"), (1, 2)):
        stand(world, agent(who), risk=risk)
        for _ in range(3):
            decision = world.ask(tokens, CAROL)
            expected = Effect.ALLOW if risk == "low" else Effect.DENY
            stale += decision.effect is Effect.ALLOW and expected is not Effect.ALLOW
            assert decision.effect is expected, str(decision)
            if risk != "low":
                assert (decision.reason, decision.hop) == (Reason.POLICY_DENIED, who)
        stand(world, agent(who))
    assert stale == 0


def test_the_leafs_own_risk_is_asked_of_the_call_and_not_of_its_hop(world: World) -> None:
    activate(world, LOW + ANY_CALL)
    stand(world, agent(3), risk="high")
    world.allowed(three(), CAROL)


def test_a_change_of_policy_turns_the_next_call_and_back(world: World) -> None:
    tokens, stale = three(), 0
    for number in range(8):
        activate(world, ANYTHING + NOT_BELOW_ONE if number % 2 else ANYTHING)
        for _ in range(3):
            decision = world.ask(tokens, CAROL)
            stale += decision.effect is Effect.ALLOW and number % 2
            assert decision.allowed is not bool(number % 2)
            if number % 2:
                assert (decision.reason, decision.hop) == (Reason.POLICY_DENIED, 2)
    world.authority.policies.activate(world.caller, None)
    world.allowed(tokens, CAROL)
    assert stale == 0


def test_an_enrolment_turns_the_next_call(world: World) -> None:
    activate(world, ANYTHING + NOT_BELOW_ONE)
    tokens = three()
    world.denied(Reason.POLICY_DENIED, 2, tokens, CAROL)
    world.authority.enrol(world.caller, CAROL.key, Principal(id="spiffe://acme.test/carol", owner="team"))
    world.allowed(tokens, CAROL)
    world.authority.enrol(world.caller, CAROL.key, Principal(id="spiffe://example.org/agent/3", owner="team"))
    world.denied(Reason.POLICY_DENIED, 2, tokens, CAROL)


def test_a_new_leaf_under_a_remembered_parent_is_asked_itself(world: World) -> None:
    activate(world, ANYTHING + NOT_BELOW_ONE)
    first = seal(root())
    second = seal(child(first, BOB), ALICE)
    world.allowed([first, second], BOB)
    world.denied(Reason.POLICY_DENIED, 2, [first, second, seal(child(second, CAROL), BOB)], CAROL)
    world.denied(Reason.POLICY_DENIED, 2, [first, second, seal(child(second, BOB, exp=NOW + 60), BOB)], BOB)
    world.allowed([first, second], BOB)


def test_no_hop_outside_acme_below_depth_one(world: World) -> None:
    """The example of the documentation: at the hop, when it is made, and at every call under it."""
    activate(world, ANYTHING + NOT_BELOW_ONE)
    first = seal(root())
    second = seal(child(first, BOB), ALICE)
    third = seal(child(second, CAROL), BOB)
    authority = world.authority
    authority.delegate(
        world.caller, [first], second, world.proof(first, ALICE, "chain:delegate", handing(second), HOME)
    )
    decision = refused(world, [first, second], third)
    assert (decision.reason, decision.hop) == (Reason.POLICY_DENIED, 2)
    world.denied(Reason.POLICY_DENIED, 2, [first, second, third], CAROL)
    authority.enrol(world.caller, CAROL.key, Principal(id="spiffe://acme.test/carol", owner="team"))
    made = authority.delegate(
        world.caller, [first, second], third, world.proof(second, BOB, "chain:delegate", handing(third), HOME)
    )
    assert made.hop == 2
    world.allowed([first, second, third], CAROL)


def handing(token: str) -> dict[str, str]:
    return {"child": digest_of(token)}


def refused(world: World, above: list[str], token: str) -> Decision:
    with pytest.raises(DeniedError) as raised:
        world.authority.delegate(
            world.caller, above, token, world.proof(above[-1], BOB, "chain:delegate", handing(token), HOME)
        )
    return raised.value.decision


def test_what_falls_out_of_memory_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    activate(world, ANY_HOP + ANY_CALL)
    ruled = world.authority._desk.live.policy
    for memory in ("_calls", "_hops", "_faults"):
        monkeypatch.setattr(ruled, memory, Weighed(1))
    stand(world, agent(1))
    tokens = [seal(root(exp=NOW + 100 + number)) for number in range(6)]
    for _ in range(3):
        for token in tokens:
            world.allowed([token], ALICE)
            world.denied(Reason.HOLDER_MISMATCH, 0, [token], ALICE, holder=MALLORY.key.thumbprint)


def test_a_memory_holds_no_more_than_its_weight() -> None:
    memory: Weighed[int, str] = Weighed(100)
    for number in range(1_000):
        memory.put(number, "x", 10)
    held = [number for number in range(1_000) if memory.get(number) is not None]
    assert held == list(range(990, 1_000))[-len(held) :]
    assert 5 <= len(held) <= 10
    memory.put(7, "heavy", 51)
    assert memory.get(7) is None
    assert memory.get(999) == "x"


def test_what_is_remembered_of_a_deep_chain_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves beyond counting under one deep chain: the memory is bounded by bytes, and each is small."""
    keys = [signer(f"deep{number}") for number in range(40)]
    world = World(enrolled=(ROOT_KEY, ALICE, *keys))
    monkeypatch.setattr("chain.policy.MEMORY", 1024 * 1024)
    activate(world, "".join(text for name, text in default().items() if name.endswith(".cedar")))
    tokens = [seal(root(holder=keys[0], del_max_depth=64))]
    for above, below in pairwise(keys[:39]):
        tokens.append(seal(child(tokens[-1], below), above))
    ruled = world.authority._desk.live.policy
    weights = []
    for number in range(200):
        leaf = seal(child(tokens[-1], keys[39], jti=f"leaf{number}"), keys[38])
        world.allowed([*tokens, leaf], keys[39])
        weights.append(ruled._calls._weight + ruled._hops._weight + ruled._faults._weight)  # type: ignore[union-attr]
    assert max(weights) <= 1024 * 1024 // 2
    assert ruled._calls._old, "the older generation was dropped"  # type: ignore[union-attr]
    assert weights[2] - weights[1] < 20_000, "of one more leaf is remembered what is new about it"


def test_a_tool_that_the_leaf_does_not_give_is_not_remembered(world: World) -> None:
    activate(world, ANYTHING)
    tokens = [seal(root())]
    world.allowed(tokens, ALICE)
    calls = world.authority._desk.live.policy._calls._young  # type: ignore[union-attr]
    assert len(calls) == 1
    for number in range(20):
        world.ask(tokens, ALICE, f"other.{number}", {})
    assert len(calls) == 1


def test_readers_share_a_policy(world: World) -> None:
    """Threads that ask about parties of different standing, with a memory that overflows all the time."""
    activate(world, LOW + ANY_CALL)
    ruled = world.authority._desk.live.policy
    ruled._calls, ruled._hops, ruled._faults = Weighed(9_000), Weighed(9_000), Weighed(9_000)  # type: ignore[union-attr]
    chain = world.accepted(three())
    fine = parties(world, chain)
    risky = tuple(party._replace(standing=Standing(risk="high")) for party in fine)
    asked = Asked("mail.read", "", "", "", (), "internal", 1, None)
    wrong: list[object] = []

    def read(those: tuple[Party, ...], *, permitted: bool) -> None:
        for _ in range(300):
            faults = ruled.faults(chain, those)  # type: ignore[union-attr]
            if (not faults) is not permitted or not ruled.call(chain, those, asked).permitted:  # type: ignore[union-attr]
                wrong.append(faults)

    threads = [Thread(target=read, args=(fine,), kwargs={"permitted": True}) for _ in range(3)]
    threads += [Thread(target=read, args=(risky,), kwargs={"permitted": False}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
