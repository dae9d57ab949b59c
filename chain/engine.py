"""One question, put to Cedar, and its answer read.

The law of this file: what is not plainly permitted is refused: a rule that errs, no decision, a request that cannot be
made. Cedar itself skips a rule that errs, even a `forbid`. The rules are parsed once, from their own text, and cut by
action; the context is cut to what the rules of that action can read. An answer says which rules it is of, and quotes no
value: it goes to agents. The engine's own words go to who asks for them (`Outcome.cause`).

A `forbid` with `@approval("n")` is a gate: where nothing else speaks against it, the question is permitted once n
people have approved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import cedarpy
import msgspec

from chain.bundle import ACTIONS, SCHEMA, Bundle, Rule, engine
from chain.decision import Obligation
from chain.entity import ACTION, PRINCIPAL, PROBE, probes
from chain.errors import PolicyError, clip
from chain.outcome import Gate, Outcome
from chain.reading import Read, read

_encode = msgspec.json.encode

UNASKED = "the question cannot be put to the policy"
"""What is told where there is no answer, and of no rule."""

_ERRING = re.compile(r"error while evaluating policy `(policy\d+)`")
"""How the engine begins what it says of a rule that errs."""


class Policies(NamedTuple):
    """Rules as the engine has them.

    Attributes:
        parsed: all of them.
        ids: the engine's name of each, by its place -> the author's.
    """

    parsed: cedarpy.PolicySet
    ids: Mapping[str, str]

    def reasons(self, result: cedarpy.AuthzResult) -> tuple[str, ...]:
        """Return the ids of the rules that determined an answer, in order."""
        return tuple(sorted([self.ids[name] for name in result.diagnostics.reasons]))


class Slice(NamedTuple):
    """The rules that one action can concern.

    Attributes:
        all, plain: all of them, and those that are no gates.
        thresholds: of the gates.
        obligations: of the permits that state one.
        read: what any of them reads.
    """

    all: Policies
    plain: Policies
    thresholds: Mapping[str, int]
    obligations: Mapping[str, Obligation]
    read: Read

    def told(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what of a context the rules can read: the rest costs a third of the question and changes no answer."""
        wanted = self.read.context
        return context if wanted is None else {name: context[name] for name in wanted if name in context}

    def owed(self, rules: Iterable[str]) -> tuple[Obligation, ...]:
        """Return what the permits that determined an answer demand, each once."""
        owed = (self.obligations[rule] for rule in rules if rule in self.obligations) if self.obligations else ()
        return tuple({(one.id, repr(one.parameters)): one for one in owed}.values())


class Engine:
    """A bundle's rules, parsed.

    Attributes:
        slices: by action.
    """

    def __init__(self, bundle: Bundle, labels: tuple[str, ...]) -> None:
        """Prepare.

        Args:
            bundle: validated.
            labels: data labels, lowest first.

        Raises:
            PolicyError: the bundle's schema does not take the questions that are asked here.
        """
        self._schema = bundle.schema
        self._actions = engine(SCHEMA, lambda: cedarpy.Entities.from_json_str("[]", bundle.schema))  # with their groups
        self.slices = {action: _slice(bundle.rules.values(), action) for action in ACTIONS}
        self._probe(labels)

    def entities(self, text: str) -> cedarpy.Entities:
        """Return entities, parsed; they are what the schema says by construction (see `_probe`).

        Args:
            text: a list of them in Cedar's JSON form.

        Raises:
            ValueError: a name that is no text.
        """
        return self._actions.with_added_json_str(text)

    def ask(
        self,
        action: str,
        principal: str,
        resource: tuple[str, str],
        context: Mapping[str, Any],
        entities: cedarpy.Entities,
    ) -> Outcome:
        """Ask.

        Args:
            action: one of `ACTIONS`.
            principal: id.
            resource: type and id.
            context: all of it.
            entities: everything that it names.
        """
        part = self.slices[action]
        try:
            request = _request(action, principal, resource, part.told(context))
            result = cedarpy.is_authorized(request, part.all.parsed, entities)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - text that is none; and a panic of the engine is no Exception
            return unasked(error)
        if result.diagnostics.errors or result.decision is cedarpy.Decision.NoDecision:
            return _erring(result, part.all)
        rules = part.all.reasons(result)
        if result.decision is cedarpy.Decision.Allow:
            return Outcome(permitted=True, rules=rules, obligations=part.owed(rules))
        gates = tuple(Gate(rule, part.thresholds[rule]) for rule in rules if rule in part.thresholds)
        if not gates or len(gates) < len(rules):
            plain = tuple(rule for rule in rules if rule not in part.thresholds)
            return Outcome(permitted=False, rules=plain, beside=gates)
        return _beyond(gates, cedarpy.is_authorized(request, part.plain.parsed, entities), part)

    def _probe(self, labels: tuple[str, ...]) -> None:
        """Ask one question of every shape under the schema, so that one that would refuse them is never activated.

        Values of one shape have the same types by construction, so that neither a call nor what is known of its chain
        need be compared with the schema again: that costs half as much as the answer, and half as much as the parsing.
        """
        known, shapes = probes(labels)
        entities = engine(
            f"{SCHEMA}: does not take what is known of a call",
            lambda: cedarpy.Entities.from_json_str(json.dumps(known), self._schema),
        )
        for action, kind, context in shapes:
            request = _request(action, PROBE, (kind, PROBE), context)
            rules, schema = self.slices[action].all.parsed, self._schema
            where = f"{SCHEMA}: does not take a question about `{action}`"
            result = engine(where, lambda: cedarpy.is_authorized(request, rules, entities, schema))  # noqa: B023 - called here
            if result.decision is cedarpy.Decision.NoDecision:
                raise PolicyError(f"{where}: {_cause(result)}")


def unasked(error: BaseException) -> Outcome:
    """Return what holds where a question cannot be put."""
    return Outcome(permitted=False, fault=UNASKED, cause=clip(str(error)))


def _request(action: str, principal: str, resource: tuple[str, str], context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "principal": {"type": PRINCIPAL, "id": principal},
        "action": {"type": ACTION, "id": action},
        "resource": {"type": resource[0], "id": resource[1]},
        "context": _encode(context).decode(),
    }


def _beyond(gates: tuple[Gate, ...], plain: cedarpy.AuthzResult, part: Slice) -> Outcome:
    """Return what holds where only gates spoke against it: nobody is asked to approve what no rule permits."""
    if plain.diagnostics.errors or plain.decision is cedarpy.Decision.NoDecision:
        return _erring(plain, part.plain, gates)
    if plain.decision is cedarpy.Decision.Allow:
        rules = tuple(gate.rule for gate in gates)
        owed = part.owed(part.plain.reasons(plain))
        return Outcome(permitted=False, rules=rules, gates=gates, obligations=owed)
    return Outcome(permitted=False, rules=part.plain.reasons(plain), beside=gates)


def _erring(result: cedarpy.AuthzResult, rules: Policies, beside: tuple[Gate, ...] = ()) -> Outcome:
    """Return what holds where rules err, or the engine does not decide."""
    said = [found[1] for error in result.diagnostics.errors if (found := _ERRING.match(str(error))) is not None]
    named = sorted({rules.ids[name] for name in said})
    if not named:
        return Outcome(permitted=False, fault=UNASKED, beside=beside, cause=_cause(result))
    which = ", ".join(f"`{name}`" for name in named[:8])
    fault = f"{'rules' if len(named) > 1 else 'rule'} {which} could not be evaluated"
    return Outcome(permitted=False, fault=fault, beside=beside, cause=_cause(result))


def _cause(result: cedarpy.AuthzResult) -> str:
    return clip("; ".join(map(str, result.diagnostics.errors)) or "no decision", 300)


def _slice(rules: Iterable[Rule], action: str) -> Slice:
    concerned = [rule for rule in rules if action in rule.actions]
    return Slice(
        _policies(concerned),
        _policies([rule for rule in concerned if not rule.threshold]),
        {rule.id: rule.threshold for rule in concerned if rule.threshold},
        {rule.id: rule.obligation for rule in concerned if rule.obligation is not None},
        read(rule.body["conditions"] for rule in concerned),
    )


def _policies(rules: Sequence[Rule]) -> Policies:
    """Return rules, parsed from text: its nesting has no limit but `chain.bounds`; its JSON form ends at some 60."""
    parsed = engine("the rules", lambda: cedarpy.PolicySet.from_str("\n".join(rule.text for rule in rules)))
    if len(parsed) != len(rules):
        raise PolicyError(f"{len(rules)} rules, but the engine reads {len(parsed)}")
    return Policies(parsed, {f"policy{place}": rule.id for place, rule in enumerate(rules)})
