"""What explain tells of rules, to whom, and from where: afresh, and to an agent not everything."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from chain.approval import word
from chain.caller import Caller, Role
from chain.client import Client
from chain.errors import ForbiddenError
from chain.explain import Explanation
from chain.outcome import Outcome
from chain.reason import Reason
from chain.service.server import ChainServer
from tests.client.running import secret, serving, settings
from tests.explain.cases import ACT, HOP, PAYS, policy, priced, risky
from tests.explain.denied import PEOPLE, Denied, ruled, stand
from tests.policy.folder import activate
from tests.support import ALICE, BOB, CAROL, HOME, PEP, World, digest, honest

AGENT_2 = "spiffe://example.org/agent/2"


def explained(denied: Denied, caller: Caller | None = None) -> Explanation:
    return denied.world.authority.explain(caller or denied.world.caller, denied.tokens, denied.request())


def test_every_rule_that_spoke_is_told_at_its_place() -> None:
    denied = policy(
        early=f"forbid ({HOP}) when {{ resource.depth == 0 }};",
        deep=f"forbid ({HOP}) when {{ resource.depth == 1 }};",
        one=f"forbid ({ACT});",
        two=f"forbid ({ACT}) when {{ context.age > 0 }};",
    )
    told = explained(denied)
    assert told.decision.rules == ("one", "two")
    assert told.decision.policy == denied.world.authority.policies.digest
    assert [hop.rules for hop in told.hops] == [("early",), ("deep",)]
    allowed = explained(policy(never=f"forbid ({ACT}) when {{ context.age > 999999 }};"))
    assert allowed.decision.allowed
    assert allowed.decision.rules == ("done",)
    assert [hop.rules for hop in allowed.hops] == [("done", "made")] * 2
    plain = explained(priced())
    assert (plain.decision.policy, plain.decision.rules, [hop.rules for hop in plain.hops]) == ("", (), [(), ()])


def test_what_a_hop_asked_gave_and_took_is_told_too() -> None:
    told = explained(risky())
    assert [hop.requested for hop in told.hops] == ['`bank.pay` {"amount":5}'] * 2
    assert all(hop.granted for hop in told.hops)


def test_explain_is_not_answered_from_memory() -> None:
    """What the policy remembers of hops is made a lie: check believes it, explain asks again."""
    denied = policy()
    world = denied.world
    assert denied.ask().allowed
    live = world.authority._desk.live
    remembered = live.policy
    assert remembered is not None
    lie = Outcome(permitted=False, rules=("lie",))
    chain = world.accepted(denied.tokens)
    parties = tuple(live.party(hop.holder) for hop in chain.hops)
    remembered._faults.put(chain.leaf.digest, (parties, ((1, lie),)), 1)  # type: ignore[attr-defined]
    believed = denied.ask()
    assert (believed.reason, believed.findings[0].detail) == (
        Reason.POLICY_DENIED, "this hop may not be made: forbidden by `lie`",
    )  # fmt: skip
    told = explained(denied)
    assert told.decision.allowed
    assert told.changes == ()


def test_explain_leaves_nothing_in_memory() -> None:
    """It tries grants that the hops do not have, under the hops' own names: a check must not see what came of that."""
    denied = policy(brief=f"forbid ({HOP}) when {{ resource.lifetime > 400 }};")
    for _ in range(2):
        assert {change.kind for change in explained(denied).changes} == {"grant"}
        assert denied.ask().reason is Reason.POLICY_DENIED


def agent(key: str, *more: Role) -> Caller:
    return Caller("an agent", frozenset({Role.AGENT, *more}), PEP, key)


def test_an_agent_sees_neither_rules_nor_risk() -> None:
    denied = risky()
    stand(denied.world, "spiffe://example.org/agent/1", "high")
    operator = explained(denied)
    assert operator.decision.rules == ("calm",)
    assert {change.field for change in operator.changes} == {f"principals.{AGENT_2}.risk"}
    told = explained(denied, agent(BOB.key.thumbprint))
    assert told.decision.reason is Reason.POLICY_DENIED
    assert told.decision.rules == ("calm",)  # of its own call, as `Check` tells it
    assert [hop.rules for hop in told.hops] == [(), ()]
    assert told.changes == ()
    assert "risk" not in str(told.hops)
    above = explained(denied, agent(ALICE.key.thumbprint))
    assert above.decision.rules == ()
    assert "calm" not in str(above)
    both = explained(denied, agent(BOB.key.thumbprint, Role.AUDITOR))
    assert (both.decision.rules, [hop.rules for hop in both.hops]) == (("calm",), [hop.rules for hop in operator.hops])


def test_an_agent_sees_no_rule_in_the_words_of_others_hops() -> None:
    denied = policy(early=f"forbid ({HOP}) when {{ resource.depth == 0 }};")
    assert "early" in str(explained(denied).decision)
    assert "early" not in str(explained(denied, agent(BOB.key.thumbprint)))
    assert "early" in str(explained(denied, agent(ALICE.key.thumbprint)).decision)  # the hop is its own


def test_an_agent_is_told_what_it_can_change() -> None:
    world = World()
    denied = Denied(world, honest(), CAROL, arguments={"amount": 500})
    told = explained(denied, agent(CAROL.key.thumbprint))
    assert [change.field for change in told.changes] == ["arguments.amount"]
    gated = policy(two=f'@approval("2") forbid ({ACT});')
    told = explained(gated, agent(BOB.key.thumbprint))
    assert [(change.kind, change.after) for change in told.changes] == [("approval", "2")]
    with pytest.raises(ForbiddenError):
        explained(denied, agent("another"))


def test_an_agent_of_a_service_sees_the_same(tmp_path: Path) -> None:
    forbid = f'forbid ({ACT}) when {{ principal.risk != "low" }};'
    world = ruled(World(catalogue=PAYS), calm=forbid)
    denied = priced(world)
    stand(world, AGENT_2, "high")
    with serving(lambda: ChainServer(world.authority, settings(tmp_path), log=io.StringIO())) as server:
        with Client(server.address, secret("agent"), timeout=20) as client:  # Alice, further up
            told = client.explain(denied.tokens, denied.request())
        with Client(server.address, secret("point"), timeout=20) as client:
            whole = client.explain(denied.tokens, denied.request())
    assert (told.decision.rules, told.changes) == ((), ())
    assert "calm" not in str(told)
    assert whole.decision.rules == ("calm",)
    assert whole.changes


def test_the_request_that_waits_is_told_to_whom_it_concerns() -> None:
    gated = policy(two=f'@approval("2") forbid ({ACT});')
    assert explained(gated).decision.awaits is None
    waits = gated.ask().awaits
    assert waits is not None
    approve_once(gated, waits.request_id)
    told = explained(gated)
    assert told.decision.awaits == waits.model_copy(update={"approvals": 1})
    assert [(change.before, change.after) for change in told.changes] == [("1", "2")]
    assert explained(gated, agent(BOB.key.thumbprint)).decision.awaits == told.decision.awaits
    assert explained(gated, agent(ALICE.key.thumbprint)).decision.awaits is None


def approve_once(denied: Denied, request_id: str) -> None:
    approvals, caller = denied.world.authority.approvals, denied.world.caller
    text = word(approvals.get(caller, request_id), PEOPLE[0], HOME, "approve", now=denied.world.clock.now)
    approvals.resolve(caller, text, PEOPLE[0].key)


def test_who_names_a_chain_and_proves_nothing_learns_no_rule() -> None:
    denied = policy(never=f"forbid ({ACT});")
    assert denied.ask().rules == ("never",)
    named = Denied(denied.world, denied.tokens, ALICE).request()
    leaf = digest(denied.tokens[-1])
    told = denied.world.authority.check(agent(ALICE.key.thumbprint), leaf, named)
    assert (told.allowed, told.rules) == (False, ())
    assert "never" not in str(told)
    assert denied.world.authority.check(denied.world.caller, leaf, named).rules == ()  # nobody proved it: not asked


def test_an_auditor_shows_no_proof_and_is_told_what_the_holder_would_be() -> None:
    denied = policy(never=f"forbid ({ACT});")
    request = denied.request().model_copy(update={"proof": None})
    auditor = Caller("auditor", frozenset({Role.AUDITOR}))
    told = denied.world.authority.explain(auditor, denied.tokens, request)
    assert [finding.reason for finding in told.decision.findings] == [Reason.POLICY_DENIED]
    gate = Caller("gate", frozenset({Role.ENFORCEMENT_POINT}))
    asked = denied.world.authority.explain(gate, denied.tokens, request)
    assert asked.decision.reason is Reason.PROOF_MISSING  # who may let it happen has to have it shown


def test_an_agent_is_told_no_rule_of_anothers_hop_by_a_check() -> None:
    world = World()
    rules = """
    @id("any") permit (principal, action, resource);
    @id("secret-of-bob") forbid (principal, action == Chain::Action::"delegate", resource) when { resource.depth == 1 };
    @id("of-carol") forbid (principal, action == Chain::Action::"delegate", resource) when { resource.depth == 2 };
    """
    activate(world, rules)
    tokens = honest(3)
    whole = {f.hop: f.detail for f in world.ask(tokens, CAROL).findings}
    assert ("secret-of-bob" in whole[1], "of-carol" in whole[2]) == (True, True)
    told = world.authority.check(agent(""), tokens, world.request(tokens, CAROL))
    texts = {finding.hop: finding.detail for finding in told.findings}
    assert texts == {1: Reason.POLICY_DENIED.meaning, 2: whole[2]}  # her proof came with the call
