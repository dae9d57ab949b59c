"""A call that is denied, the change that explain finds for it, and both ways to make that change: supposed and real."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import msgspec

from chain.applied import Situation, applied
from chain.approval import word
from chain.budget import Spent
from chain.bundles import default
from chain.control import Standing
from chain.decision import Decision, Effect
from chain.explain import Change
from chain.key import KeySigner
from chain.principal import Principal
from chain.request import Request
from chain.supposed import AS_IT_IS, Supposed
from tests.support import HOME, PEP, ROOT_KEY, Json, World, digest_of, seal, signer, thumbprint

PEOPLE = tuple(map(signer, ("ann", "ben", "cleo")))
KEYS = {thumbprint(json.loads(key.key.to_json())): key for key in map(signer, ("issuer", "alice", "bob", "carol"))}


@dataclass
class Denied:
    """A call, with everything that it takes to ask it again."""

    world: World
    tokens: Sequence[str]
    by: KeySigner
    tool: str = "bank.pay"
    arguments: Json = field(default_factory=lambda: {"amount": 5})
    facts: Json = field(default_factory=dict)

    def request(self) -> Request:
        """The request with a fresh proof; without one where the channel proves the holder."""
        facts = {"audience": PEP} | self.facts
        if not facts.keys() & {"holder", "proof"}:
            stated = {name: facts[name] for name in ("purpose", "intent", "labels") if facts.get(name)}
            audience = facts["audience"] or PEP
            made = self.world.proof(self.tokens[-1], self.by, self.tool, self.arguments, audience, facts=stated)
            facts["proof"] = made
        return Request(tool=self.tool, arguments=self.arguments, **facts)

    def ask(self) -> Decision:
        return self.world.authority.check(self.world.caller, self.tokens, self.request())

    def changes(self) -> tuple[Change, ...]:
        explained = self.world.authority.explain(self.world.caller, self.tokens, self.request())
        assert not explained.decision.allowed
        return explained.changes

    @property
    def situation(self) -> Situation:
        """The call as it stands, for the pure function."""
        chain = self.world.accepted(self.tokens)
        state = Supposed(self.world.authority._desk.live, AS_IT_IS)
        return Situation(chain, self.request(), state, self.world.clock.now, self.world.verifier.rules)

    def really(self, changes: Iterable[Change]) -> Denied:
        """Make the changes, in the world and not in supposition, and return the call to ask again."""
        changes = tuple(changes)
        made = replace(self, tokens=self._minted(changes))
        for change in changes:
            if change.kind == "request":
                made = made._asked(change)
            elif change.kind == "state":
                self._done(change)
        if any(change.field == "approvals" for change in changes):
            approve(self.world, made.ask())
        return made

    def _asked(self, change: Change) -> Denied:
        scope, _, name = change.field.partition(".")
        value = json.loads(change.after) if change.after else None
        if scope != "arguments":
            return replace(self, facts=self.facts | {scope: value})
        arguments = {key: item for key, item in self.arguments.items() if key != name}
        return replace(self, arguments=arguments | ({name: value} if change.after else {}))

    def _minted(self, changes: tuple[Change, ...]) -> list[str]:
        """Sign the chain anew, as far as it changes: with another `jti`, since one names one token."""
        grants = [change for change in changes if change.kind == "grant" or change.field.endswith(".revoked")]
        if not grants:
            return list(self.tokens)
        chain = applied((one for one in grants if one.kind == "grant"), self.situation).chain
        tokens: list[str] = []
        for hop in chain.hops:
            payload: Json = json.loads(msgspec.json.encode(hop.claims))
            payload["jti"] = sha256(f"{hop.claims.jti} anew".encode()).hexdigest()[:32]
            if tokens:
                payload["par_hash"] = digest_of(tokens[-1])
            by = ROOT_KEY if not tokens else KEYS[chain.hops[hop.hop - 1].holder]
            tokens.append(seal(payload, by))
        return tokens

    def _done(self, change: Change) -> None:
        authority, caller = self.world.authority, self.world.caller
        about, _, name = change.field.partition(".")
        match about:
            case "suspensions":
                scope, _, named = name.partition(":")
                authority.steering.resume(caller, scope, named, "a test")
            case "enrolments":
                authority.enrol(caller, KEYS[name].key, Principal.model_validate_json(change.after))
            case "time":
                self.world.clock.now = float(json.loads(change.after))
            case "principals":
                stand(self.world, name.removesuffix(".risk"), "low")
            case "policy" if name:
                kept = authority.policies.files(caller)
                authority.policies.activate(
                    caller, {file: text for file, text in kept.items() if f'"{change_of(name)}"' not in text}
                )
            case "policy":
                authority.policies.activate(caller, None)
            case _:
                assert change.field.endswith(".revoked"), change


def change_of(name: str) -> str:
    """The id of the rule that a change takes out."""
    return name.removeprefix("rules.")


def stand(world: World, name: str, risk: str) -> None:
    """Say how a principal stands, as a signal would."""
    world.authority._desk.live.stand(name, Standing(risk=risk), world.authority.revision)  # type: ignore[arg-type]


def approve(world: World, decision: Decision, people: Sequence[KeySigner] = PEOPLE) -> None:
    """Let as many people approve as it takes."""
    assert decision.effect is Effect.APPROVAL_REQUIRED, str(decision)
    assert decision.awaits is not None
    for person in people[: decision.awaits.threshold]:
        asked = world.authority.approvals.get(world.caller, decision.awaits.request_id)
        text = word(asked, person, HOME, "approve", now=world.clock.now)
        world.authority.approvals.resolve(world.caller, text, person.key)


def people(world: World) -> World:
    """Enrol the people who may approve."""
    for place, key in enumerate(PEOPLE):
        human = Principal(id=f"spiffe://example.org/human/{place}", kind="human", owner=f"human-{place}")
        world.authority.enrol(world.caller, key.key, human)
    return world


PERMITS = """
@id("made") permit (principal, action == Chain::Action::"delegate", resource);
@id("done") permit (principal, action, resource) unless { action == Chain::Action::"approve" };
@id("said") permit (principal, action == Chain::Action::"approve", resource);
"""


def ruled(world: World, permits: str = PERMITS, **rules: str) -> World:
    """Put a policy in force: what is permitted, and one rule a file."""
    files = {"schema.cedarschema": default()["schema.cedarschema"], "permits.cedar": permits}
    files |= {f"{name}.cedar": f'@id("{name}") {text}' for name, text in rules.items()}
    people(world).authority.policies.activate(world.caller, files)
    return world


def written(world: World) -> Mapping[str, Any]:
    """Everything that a question might use up, or write."""
    live = world.authority._desk.live
    return {
        "revision": world.authority.revision,
        "head": world.store.head,
        "nonces": dict(live._nonces),
        "spent": {key: live.spent(key) for key in list(live.purse._known._young) if live.spent(key) != Spent()},
        "approvals": live.approvals.all(),
        "suspensions": dict(live.controls.suspensions),
        "revoked": set(live.revoked),
        "struck": set(live.controls.struck),
        "standings": dict(live.controls.standings),
        "policy": world.authority.policies.digest,
        "calls": {name: tuple(times) for name, times in live.pace._calls._times._young.items()},
        "denials": {name: tuple(times) for name, times in live.pace._denials._times._young.items()},
    }
