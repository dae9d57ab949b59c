"""What differs between two policies, shown by requests on which they answer differently.

The law of this file: a difference is shown, never claimed: each witness was put to both policies. Found by trying, so
that EQUAL means no more than that none of the requests tried told the two apart; the requests are those that the rules
of either one mention, with their neighbours (chain/policymodel.py), up to `MAX_TRIED` a question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import ValidationError

from chain import policymodel as model
from chain.bundle import SCHEMA, Rule
from chain.policy import Policy
from chain.policyfacts import Holder, Person, Stated, ask
from chain.policymodel import Choice, Mentioned
from chain.policyview import Difference, Relation, Witness

MAX_TRIED = 2_048
"""Requests of one question; some seconds for all of them."""

MAX_WITNESSES = 8
"""That are shown."""

MAX_LISTED = 32
"""Tools that are tried because the two catalogues say different things of them."""

Question = Literal["call", "delegate", "approve"]
_ACTIONS: Final[Mapping[Question, frozenset[str]]] = {
    "call": frozenset({"read", "write", "act"}),
    "delegate": frozenset({"delegate"}),
    "approve": frozenset({"approve"}),
}
_SUBJECT = "spiffe://example.test/human/approver"


def diff(before: Policy, after: Policy, most: int = MAX_TRIED) -> Difference:
    """Compare two policies.

    A question about which both have the very same rules, schema and catalogue is not tried: it cannot differ.

    Args:
        before, after: over the same data labels.
        most: requests of one question.
    """
    found: dict[tuple[object, ...], Witness] = {}
    wider = narrower = False
    tried = 0
    for question in _ACTIONS:
        if _same(before, after, question):
            continue
        dimensions = _dimensions(before, after, question)
        for choice in model.combinations(dimensions, question, most):
            witness = _asked(before, after, question, choice)
            if witness is None:
                continue
            tried += 1
            if witness.before.width == witness.after.width:
                continue
            wider |= witness.after.width > witness.before.width
            narrower |= witness.after.width < witness.before.width
            if (key := _key(question, witness)) not in found:
                found[key] = _smallest(before, after, question, choice, dimensions)
    return Difference(_relation(wider=wider, narrower=narrower), tried, _shown(found.values()))


def _same(before: Policy, after: Policy, question: Question) -> bool:
    first, second = (_rules(policy, question) for policy in (before, after))
    texts = [{rule.id: (rule.text, rule.actions) for rule in rules} for rules in (first, second)]
    schemas = {policy.bundle.files[SCHEMA] for policy in (before, after)}
    return texts[0] == texts[1] and len(schemas) == 1 and before.catalogue == after.catalogue


def _rules(policy: Policy, question: Question) -> list[Rule]:
    return [rule for rule in policy.bundle.rules.values() if rule.actions & _ACTIONS[question]]


def _relation(*, wider: bool, narrower: bool) -> Relation:
    if wider:
        return Relation.INCOMPARABLE if narrower else Relation.WIDER
    return Relation.NARROWER if narrower else Relation.EQUAL


def _key(question: Question, witness: Witness) -> tuple[object, ...]:
    return question, witness.before.width, witness.after.width, witness.before.rules, witness.after.rules


def _shown(found: Any) -> tuple[Witness, ...]:  # noqa: ANN401 - a view of a dictionary
    """Return witnesses of both directions, those with the fewest facts first."""
    ordered = sorted(found, key=lambda one: len(str(one.request)))
    wider = [one for one in ordered if one.after.width > one.before.width]
    narrower = [one for one in ordered if one.after.width < one.before.width]
    half = MAX_WITNESSES // 2
    first = wider[: max(half, MAX_WITNESSES - len(narrower))]
    return (*first, *narrower[: MAX_WITNESSES - len(first)])


def _asked(before: Policy, after: Policy, question: Question, choice: Choice) -> Witness | None:
    """Put one request to both; None where the choice describes nothing that can be."""
    try:
        stated = _stated(question, choice)
    except ValidationError:
        return None
    return Witness(stated.words(), ask(before, stated), ask(after, stated))


def _smallest(
    before: Policy, after: Policy, question: Question, choice: Choice, dimensions: Mapping[str, Sequence[Any]]
) -> Witness:
    """Return a witness of the same difference from which nothing can be left out."""
    kept = dict(choice)
    best = _asked(before, after, question, kept)
    assert best is not None  # noqa: S101 - it was asked before
    for name, values in dimensions.items():
        lesser = {**kept, name: values[0]}
        witness = _asked(before, after, question, lesser)
        if witness is not None and _key(question, witness) == _key(question, best):
            kept, best = lesser, witness
    return best


def _dimensions(before: Policy, after: Policy, question: Question) -> dict[str, Sequence[Any]]:
    said = model.mentioned([*_rules(before, question), *_rules(after, question)])
    listed = _listed(before, after)
    found = model.tool(said, listed, before.labels, called=question == "call")
    found |= model.plain(said, question, before.labels)
    for place, ids in _people(said, question):
        found |= model.person(said, place, *ids)
    return found


def _listed(before: Policy, after: Policy) -> list[str]:
    first, second = before.catalogue.root, after.catalogue.root
    return [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)][:MAX_LISTED]


def _people(said: Mentioned, question: Question) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the people whose facts a question can depend on, and ids that they may share with others."""
    everybody = said.read & {"ancestors", "ids", "kinds", "trust_domains", "risks"}
    if question == "approve":
        shared = (_SUBJECT,) if said.read & {"requester", "ancestors", "subject"} else ()
        yield "approver", shared
        if everybody or "requester" in said.read:
            yield "holder", shared
        return
    yield "holder", ()
    if everybody or question == "delegate" or "delegator" in said.read:
        yield "delegator", ()
    if everybody or "origin" in said.read:
        yield "origin", ()


def _stated(question: Question, choice: Choice) -> Stated:
    """Return the question that a choice describes.

    Raises:
        ValidationError: there is none.
    """
    facts: dict[str, Any] = {name: value for name, value in choice.items() if "." not in name}
    facts.pop("depth", None)
    facts["labels"] = facts.pop(model.PROMPT, ())
    tool = _members(choice, "tool")
    listed = tool.pop("listed", None)
    if listed is not None:
        facts["tool"] = listed
    elif tool:
        facts["tool"] = tool
    if question == "approve":
        facts["approver"] = Person.model_validate({"kind": "human", **_known(_members(choice, "approver"))})
        if facts.get("subject") == model.FRESH:
            facts["subject"] = _SUBJECT
    path = _path(question, choice)
    facts["holders"] = () if path == (Holder(),) else path
    return Stated.model_validate({"question": question, **facts})


def _path(question: Question, choice: Choice) -> tuple[Holder, ...]:
    depth = choice.get("depth", 0 if question == "approve" else 1)
    last = _known(_members(choice, "holder")) | _members(choice, "hop")
    people = [_known(_members(choice, "origin")), _known(_members(choice, "delegator"))]
    above = people[1:] if depth == 1 else [people[0], *[{}] * (depth - 2), people[1]] if depth else []
    return tuple(Holder.model_validate(one) for one in (*above, last))


def _known(person: Choice) -> Choice:
    """Return a person's facts: an id tells its own trust domain, and ``key:`` one whom nobody enrolled."""
    name = person.get("id", "")
    if name:
        person.pop("trust_domain", None)
    return person | {"kind": "unknown"} if name.startswith("key:") else person


def _members(choice: Choice, place: str) -> Choice:
    prefix = f"{place}."
    return {name.removeprefix(prefix): value for name, value in choice.items() if name.startswith(prefix)}
