"""One question, put to Cedar, and its answer read.

The law of this file: what is not plainly permitted is refused: a rule that errs, no decision, a request that cannot be
made. Cedar itself skips a rule that errs, even a `forbid`. The rules are parsed once, and cut by action; the context
is cut to what the rules of that action can read.

A `forbid` with `@approval("n")` is a gate: where nothing else speaks against it, the question is permitted once n
people have approved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import cedarpy
import msgspec

from chain.bundle import ACTIONS, Bundle, Rule
from chain.decision import Obligation
from chain.entity import ACTION, PRINCIPAL, PROBE, probes
from chain.errors import PolicyError, clip
from chain.outcome import Gate, Outcome

_encode = msgspec.json.encode


class Slice(NamedTuple):
    """The rules that one action can concern.

    Attributes:
        all, plain: all of them, and those that are no gates.
        thresholds: of the gates.
        obligations: of the permits that state one.
        read: members of the context that any of them reads; None where one takes the context as a whole.
    """

    all: cedarpy.PolicySet
    plain: cedarpy.PolicySet
    thresholds: Mapping[str, int]
    obligations: Mapping[str, Obligation]
    read: frozenset[str] | None

    def told(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what of a context the rules can read: the rest costs a third of the question and changes no answer."""
        return context if self.read is None else {name: context[name] for name in self.read if name in context}

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
        self._actions = cedarpy.Entities.from_json_str("[]", bundle.schema)  # which of them is in which group
        self.slices = {action: _slice(bundle.rules.values(), action) for action in ACTIONS}
        self._probe(labels)

    def entities(self, known: Iterable[Mapping[str, Any]]) -> cedarpy.Entities:
        """Return entities, parsed; they are what the schema says by construction (see `_probe`).

        Raises:
            ValueError: a name that is no text.
        """
        return self._actions.with_added_json_str(json.dumps(list(known)))

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
            result = cedarpy.is_authorized(request, part.all, entities)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - text that is none; and a panic of the engine is no Exception
            return Outcome(permitted=False, fault=clip(str(error)))
        if result.diagnostics.errors or result.decision is cedarpy.Decision.NoDecision:
            return Outcome(permitted=False, fault=_errors(result))
        rules = tuple(sorted(result.diagnostics.reasons))
        if result.decision is cedarpy.Decision.Allow:
            return Outcome(permitted=True, rules=rules, obligations=part.owed(rules))
        gates = tuple(Gate(rule, part.thresholds[rule]) for rule in rules if rule in part.thresholds)
        if not gates or len(gates) < len(rules):
            plain = tuple(rule for rule in rules if rule not in part.thresholds)
            return Outcome(permitted=False, rules=plain, beside=gates)
        return _beyond(gates, cedarpy.is_authorized(request, part.plain, entities), part)

    def _probe(self, labels: tuple[str, ...]) -> None:
        """Ask one question of every shape under the schema, so that one that would refuse them is never activated.

        Values of one shape have the same types by construction, so that neither a call nor what is known of its chain
        need be compared with the schema again: that costs half as much as the answer, and half as much as the parsing.
        """
        known, shapes = probes(labels)
        try:
            entities = cedarpy.Entities.from_json_str(json.dumps(known), self._schema)
        except ValueError as error:
            raise PolicyError(f"the schema does not take what is known of a call: {clip(str(error))}") from None
        for action, kind, context in shapes:
            request = _request(action, PROBE, (kind, PROBE), context)
            result = cedarpy.is_authorized(request, self.slices[action].all, entities, self._schema)
            if result.decision is cedarpy.Decision.NoDecision:
                raise PolicyError(f"the schema does not take a question about `{action}`: {_errors(result)}")


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
        return Outcome(permitted=False, fault=_errors(plain), beside=gates)
    if plain.decision is cedarpy.Decision.Allow:
        rules = tuple(gate.rule for gate in gates)
        owed = part.owed(plain.diagnostics.reasons)
        return Outcome(permitted=False, rules=rules, gates=gates, obligations=owed)
    return Outcome(permitted=False, rules=tuple(sorted(plain.diagnostics.reasons)), beside=gates)


def _slice(rules: Iterable[Rule], action: str) -> Slice:
    concerned = [rule for rule in rules if action in rule.actions]
    return Slice(
        _policies(concerned),
        _policies(rule for rule in concerned if not rule.threshold),
        {rule.id: rule.threshold for rule in concerned if rule.threshold},
        {rule.id: rule.obligation for rule in concerned if rule.obligation is not None},
        read(rule.body["conditions"] for rule in concerned),
    )


def read(conditions: Iterable[Any]) -> frozenset[str] | None:
    """Return the members of the context that conditions read, or None where one takes it as a whole.

    In Cedar's JSON form an access is ``{".": {"left": {"Var": "context"}, "attr": NAME}}``, and a test ``{"has": …}``.
    A record's members bear any names, those of operators too, so that only their values are looked at.
    """
    found: set[str] = set()
    waiting = list(conditions)
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            for operator, value in node.items():
                if operator == "Var" and value == "context":
                    return None
                if operator == "Record":
                    waiting += value.values()
                elif operator in (".", "has") and value["left"] == {"Var": "context"}:
                    found.add(value["attr"])
                elif operator != "Value":
                    waiting.append(value)
    return frozenset(found)


def _policies(rules: Iterable[Rule]) -> cedarpy.PolicySet:
    """Return rules under their own ids, which Cedar's text form would number instead."""
    named = {rule.id: rule.body for rule in rules}
    return cedarpy.PolicySet.from_json_str(json.dumps({"staticPolicies": named, "templates": {}, "templateLinks": []}))


def _errors(result: cedarpy.AuthzResult) -> str:
    return clip("; ".join(map(str, result.diagnostics.errors)) or "no decision", 300)
