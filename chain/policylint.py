"""Rules that do nothing, and rules that do everything.

The law of this file: a remark is no refusal. A rule is called idle where taking it away changed no answer that was
tried (`chain.policydiff`): it is shadowed by others, can never apply, or applies only to what nobody tried.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from chain.bundle import Rule
from chain.policy import Policy
from chain.policydiff import diff
from chain.policyview import Relation

MOST = 512
"""Requests of one question that are tried without a rule."""

_ANYTHING = {"op": "All"}


class Remark(NamedTuple):
    """Something about a rule that its author may not have meant.

    Attributes:
        rule, file, line: which.
        kind: `idle`: it changes no answer; `unconditional`: a permit of whatever is asked.
        words: the same for a person.
    """

    rule: str
    file: str
    line: int
    kind: Literal["idle", "unconditional"]
    words: str


def lint(policy: Policy, most: int = MOST) -> tuple[Remark, ...]:
    """Return what is worth a second look in a bundle, in the order of its files.

    Args:
        policy: its bundle's rules, over the tools and labels that they will meet.
        most: requests of one question that are tried without a rule.
    """
    found = []
    for rule in sorted(policy.bundle.rules.values(), key=lambda rule: (rule.file, rule.line)):
        if _unconditional(rule):
            words = f"`{rule.id}` permits whatever is asked of it"
            found.append(Remark(rule.id, rule.file, rule.line, "unconditional", words))
        tried = diff(policy, policy.without(frozenset({rule.id})), most)
        if tried.relation is Relation.EQUAL:
            words = f"`{rule.id}` changed none of {tried.tried} answers: it is shadowed, or can never apply"
            found.append(Remark(rule.id, rule.file, rule.line, "idle", words))
    return tuple(found)


def _unconditional(rule: Rule) -> bool:
    """Tell whether a permit of calls has neither a condition nor a narrower head."""
    if rule.effect != "permit" or rule.body["conditions"] or not rule.actions >= {"read", "write", "act"}:
        return False
    return all(rule.body[part] == _ANYTHING for part in ("principal", "resource"))
