"""Plays a scenario file through a door.

A scenario is a list of steps; names of agents are names of keys, names of tokens stand for the token with all above it.

- ``enrol``: agents, each its own principal; ``kind``, ``owner``, ``domain`` of all of them.
- ``issue`` NAME ``to`` AGENT, ``tools``, ``limits``, ``lifetime``, ``facts``: a root.
- ``mint`` NAME ``under`` NAME ``to`` AGENT: a child, signed offline. What is not given is its parent's; ``claims``
  changes anything at all, ``by`` names another signer.
- ``delegate`` NAME: hand a minted child in, with a proof by its parent's holder, or ``by`` another, or null.
- ``check`` NAME (or a list of names, taken as they are) ``by`` AGENT ``tool``, ``arguments``, facts; ``again`` repeats
  the last call to the letter, ``channel`` proves the holder without a proof, ``proof`` changes what the proof says,
  ``digest`` presents the leaf's digest alone.
- ``revoke`` NAME, or ``{kind: name}``: all that bears a name; ``wait`` SECONDS.
- ``policy``: ``default``, ``none``, or files beside those of the default bundle.
- ``suspend`` SCOPE ``name``, ``mode``, ``lifetime``; ``resume`` SCOPE ``name``.
- ``approve`` PERSON, ``deny`` PERSON: about what the last call that waited waits for; ``emergency`` gives a reason.
- ``signal`` KIND ``about`` AGENT, ``level``, ``change``: as the identity provider signs it, or ``by`` another.

``expect`` is ``ALLOW``, or ``{effect, reason, hop, field}``; a step without it must be allowed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chain import mint, proof
from chain import signal as signals
from chain.approval import Verdict
from chain.bundles import default
from chain.control import Named
from chain.order import Revoke
from chain.principal import Principal
from tests.scenarios.door import CAUSE, Door, Outcome
from tests.support import PEP, Clock, Json, child, digest, digest_of, seal, signer

FILES = sorted(Path(__file__).parent.glob("*.json"))

VERBS = (
    "enrol", "issue", "mint", "delegate", "check", "again", "revoke", "policy", "suspend", "resume", "approve", "deny",
    "signal", "wait",
)  # fmt: skip

IDP, IDP_KEY = "https://idp.example", signer("idp")
"""Whose signals every stage takes."""

REQUEST = ("purpose", "intent", "labels", "classification", "request_id", "audience")


class Play:
    """One scenario while it is played."""

    def __init__(self, door: Door, clock: Clock) -> None:
        self.door = door
        self.clock = clock
        self.tokens: dict[str, str] = {}
        self.above: dict[str, str | None] = {}
        self.holders: dict[str, str] = {}
        self.last: tuple[Any, Json] = ([], {})
        self.ids: dict[str, str] = {}
        self.awaits = ""
        self.proofs = 0

    def step(self, step: Json) -> Outcome | None:
        """Take one step; waiting and minting have no outcome."""
        for verb in VERBS:
            if verb in step:
                outcome: Outcome | None = getattr(self, verb)(step)
                return outcome
        raise ValueError(f"no verb in {step}")

    def path(self, name: str) -> list[str]:
        """The tokens from the root to this one."""
        upper = self.above[name]
        return [*([] if upper is None else self.path(upper)), self.tokens[name]]

    def enrol(self, step: Json) -> None:
        for agent in step["enrol"]:
            facts = {"owner": "team"} | {name: step[name] for name in ("owner", "kind") if name in step}
            self.ids[agent] = f"spiffe://{step.get('domain', 'example.org')}/{agent}"
            self.door.enrol(signer(agent).key, Principal(id=self.ids[agent], **facts))

    def issue(self, step: Json) -> Outcome:
        grant: Json = {name: step[name] for name in ("tools", "limits") if name in step}
        facts = step.get("facts", {})
        outcome = self.door.issue(signer(step["to"]).key, grant, step.get("lifetime", 600), **facts)
        if outcome.token is not None:
            self.tokens[step["issue"]], self.above[step["issue"]] = outcome.token, None
            self.holders[step["issue"]] = step["to"]
        return outcome

    def mint(self, step: Json) -> None:
        upper = self.tokens[step["under"]]
        claims = {name: self._relative(name, value) for name, value in step.get("claims", {}).items()}
        payload = child(upper, signer(step["to"]), step.get("tools"), step.get("limits"), **claims)
        by = step.get("by") or self.holders[step["under"]]
        self.tokens[step["mint"]], self.above[step["mint"]] = seal(payload, signer(by)), step["under"]
        self.holders[step["mint"]] = step["to"]

    def _relative(self, name: str, value: Any) -> Any:
        return int(self.clock.now) + value if name in ("iat", "exp") else value

    def delegate(self, step: Json) -> Outcome:
        name = step["delegate"]
        upper = self.above[name] or ""
        by = step.get("by", self.holders[upper])
        parent, text = self.path(upper), None
        if by is not None:
            arguments = {"child": digest_of(self.tokens[name])}
            text = self._proof(parent[-1], by, proof.DELEGATE, arguments, self.door.audience, {})
        return self.door.delegate(parent, self.tokens[name], text)

    def check(self, step: Json) -> Outcome:
        named = step["check"]
        tokens = self.path(named) if isinstance(named, str) else [self.tokens[name] for name in named]
        by, tool, arguments = step.get("by", ""), step["tool"], step.get("arguments", {})
        call: Json = {"tool": tool, "arguments": arguments, "audience": PEP}
        call |= {name: step[name] for name in REQUEST if name in step}
        if step.get("channel"):
            call["holder"] = signer(by).key.thumbprint
        elif by:
            stated: Json = {name: call[name] for name in ("purpose", "intent", "labels") if name in call}
            changed = {"tool": tool, "arguments": arguments, "audience": PEP} | step.get("proof", {})
            call["proof"] = self._proof(
                tokens[-1],
                by,
                changed.pop("tool"),
                changed.pop("arguments"),
                changed.pop("audience"),
                stated,
                **changed,
            )
        self.last = (digest(tokens[-1]) if step.get("digest") else tokens, call)
        return self.again(step)

    def again(self, _step: Json) -> Outcome:
        outcome = self.door.check(*self.last)
        self.awaits = outcome.awaits or self.awaits
        return outcome

    def _proof(self, token: str, by: str, tool: str, arguments: Json, audience: str, facts: Json, age: int = 0) -> str:
        self.proofs += 1
        leaf, now = mint.unverified(token), int(self.clock.now) - age
        return proof.make(
            signer(by), leaf, tool, arguments, audience=audience, jti=f"{by}-{self.proofs}", iat=now, facts=facts
        )

    def revoke(self, step: Json) -> Outcome:
        order = step["revoke"]
        if isinstance(order, str):
            return self.door.revoke(Revoke(digest(self.tokens[order]), CAUSE))
        ((kind, name),) = order.items()
        bearer = signer(name).key.thumbprint if kind in ("holder", "key") else name
        return self.door.revoke(Revoke(cause=CAUSE, named=Named(kind, bearer)))

    def policy(self, step: Json) -> Outcome:
        given = step["policy"]
        if given == "none":
            return self.door.policy(None)
        return self.door.policy(default() | ({} if given == "default" else given))

    def suspend(self, step: Json) -> Outcome:
        name = self._named(step)
        return self.door.suspend(step["suspend"], name, step.get("mode", "suspended"), step.get("lifetime", 0))

    def resume(self, step: Json) -> Outcome:
        return self.door.resume(step["resume"], self._named(step))

    def _named(self, step: Json) -> str:
        name: str = step.get("name", "")
        return self.ids.get(name, name)

    def approve(self, step: Json) -> Outcome:
        return self._say(step, step["approve"], "approve")

    def deny(self, step: Json) -> Outcome:
        return self._say(step, step["deny"], "deny")

    def _say(self, step: Json, person: str, verdict: Verdict) -> Outcome:
        assert self.awaits, "nothing waits for anybody"
        return self.door.say(self.awaits, signer(person), verdict, self.clock.now, step.get("emergency", ""))

    def signal(self, step: Json) -> Outcome:
        self.proofs += 1
        about = step["about"]
        text = signals.make(
            signer(step["by"]) if "by" in step else IDP_KEY,
            issuer=IDP,
            audience=self.door.audience,
            event=step["signal"],
            subject=self.ids.get(about, about),
            jti=f"signal-{self.proofs}",
            now=int(self.clock.now),
            level=step.get("level", ""),
            change=step.get("change", ""),
        )
        return self.door.signal(text)

    def wait(self, step: Json) -> None:
        self.clock.now += step["wait"]


def load(file: Path) -> list[Json]:
    """Return the scenarios of a file, each with a name and steps."""
    found: list[Json] = json.loads(file.read_text())
    return found


def play(scenario: Json, door: Door, clock: Clock) -> int:
    """Play a scenario to its end and return how many expectations held.

    Raises:
        AssertionError: names the step that came out otherwise.
    """
    stage, held = Play(door, clock), 0
    for number, step in enumerate(scenario["steps"], 1):
        outcome = stage.step(step)
        if outcome is None:
            continue
        expected = step.get("expect", "ALLOW")
        if expected == "ALLOW":
            expected = {"effect": "ALLOW", "reason": "allowed", "hop": None}
        came = {name: getattr(outcome, name) for name in expected}
        assert came == expected, f"{scenario['name']}, step {number}: {outcome}"
        held += 1
    return held
