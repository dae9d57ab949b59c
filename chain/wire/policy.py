"""Policies, to the wire and back.

The law of this file: a bundle travels as its files and nothing else names it but its digest; a relation that is not
understood is an error and never EQUAL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from chain.errors import InvalidRequestError
from chain.policyview import (
    Activated,
    Answer,
    Difference,
    Flip,
    Ran,
    Relation,
    Replayed,
    RuleView,
    Shown,
    Validated,
    Witness,
)
from chain.v1 import policy_pb2 as pb

_RELATION_TO: Mapping[Relation, pb.PolicyRelation.ValueType] = {
    Relation.EQUAL: pb.POLICY_RELATION_EQUAL,
    Relation.NARROWER: pb.POLICY_RELATION_NARROWER,
    Relation.WIDER: pb.POLICY_RELATION_WIDER,
    Relation.INCOMPARABLE: pb.POLICY_RELATION_INCOMPARABLE,
}
_RELATION_FROM = {number: relation for relation, number in _RELATION_TO.items()}


def validate_to(files: Mapping[str, str]) -> pb.ValidatePolicyRequest:
    """Return the message of a bundle to be looked at."""
    return pb.ValidatePolicyRequest(files=files)


def validated_to(found: Validated) -> pb.ValidatePolicyResponse:
    """Return the message of a bundle that validates."""
    rules = (
        pb.PolicyRule(id=one.id, file=one.file, effect=one.effect, threshold=one.threshold, description=one.note)
        for one in found.rules
    )
    return pb.ValidatePolicyResponse(digest=found.digest, rules=rules, cases=found.cases)


def validated_from(message: pb.ValidatePolicyResponse) -> Validated:
    """Return what is told of a bundle that validates."""
    rules = (RuleView(one.id, one.file, one.effect, one.threshold, one.description) for one in message.rules)
    return Validated(message.digest, tuple(rules), message.cases)


def test_to(files: Mapping[str, str] | None) -> pb.TestPolicyRequest:
    """Return the message of a bundle whose cases are to be run; None is the active one."""
    return pb.TestPolicyRequest(files=files or {})


def tested_to(ran: Iterable[Ran]) -> pb.TestPolicyResponse:
    """Return the message of what came of cases."""
    cases = [pb.PolicyCase(name=one.name, file=one.file, passed=one.passed, detail=one.detail) for one in ran]
    return pb.TestPolicyResponse(cases=cases, failed=sum(not case.passed for case in cases))


def tested_from(message: pb.TestPolicyResponse) -> tuple[Ran, ...]:
    """Return what came of cases."""
    return tuple(Ran(one.name, one.file, one.passed, one.detail) for one in message.cases)


def diff_to(before: Mapping[str, str] | None, after: Mapping[str, str], replay: int) -> pb.DiffPolicyRequest:
    """Return the message of two bundles to be compared; None is the active one."""
    return pb.DiffPolicyRequest(before=before or {}, after=after, replay=replay)


def difference_to(found: Difference) -> pb.DiffPolicyResponse:
    """Return the message of a comparison."""
    return pb.DiffPolicyResponse(
        relation=_RELATION_TO[found.relation],
        tried=found.tried,
        witnesses=map(_witness_to, found.witnesses),
        flips=map(_flip_to, found.replay.flips),
        replayed=found.replay.replayed,
        skipped=found.replay.skipped,
        drifted=found.replay.drifted,
    )


def _witness_to(witness: Witness) -> pb.PolicyWitness:
    return pb.PolicyWitness(
        request_json=msgspec.json.encode(witness.request),
        before=str(witness.before),
        after=str(witness.after),
        rules=witness.after.rules,
    )


def _flip_to(flip: Flip) -> pb.PolicyFlip:
    return pb.PolicyFlip(
        revision=flip.revision,
        decision_id=flip.id,
        tool=flip.tool,
        before=flip.before,
        after=flip.after,
        detail=flip.detail,
    )


def difference_from(message: pb.DiffPolicyResponse) -> Difference:
    """Return a comparison.

    Raises:
        ValueError: it is not understood.
    """
    if message.relation not in _RELATION_FROM:
        raise ValueError("a relation that is not known")
    flips = (Flip(one.revision, one.decision_id, one.tool, one.before, one.after, one.detail) for one in message.flips)
    return Difference(
        _RELATION_FROM[message.relation],
        message.tried,
        tuple(map(_witness_from, message.witnesses)),
        Replayed(tuple(flips), message.replayed, message.skipped, message.drifted),
    )


def _witness_from(message: pb.PolicyWitness) -> Witness:
    request = msgspec.json.decode(message.request_json, type=dict[str, object])
    return Witness(request, Answer.parse(message.before), Answer.parse(message.after, tuple(message.rules)))


def activate_to(files: Mapping[str, str] | None, key: str) -> pb.ActivatePolicyRequest:
    """Return the message of a bundle to be put in force; None puts the active one out of force."""
    return pb.ActivatePolicyRequest(files=files or {}, deactivate=files is None, idempotency_key=key)


def activate_from(message: pb.ActivatePolicyRequest) -> dict[str, str] | None:
    """Return the files of a bundle to be put in force, or None to put the active one out of force.

    Raises:
        InvalidRequestError: both at once.
    """
    if message.deactivate and message.files:
        raise InvalidRequestError("either files or `deactivate`")
    return None if message.deactivate else dict(message.files)


def activated_to(done: Activated) -> pb.ActivatePolicyResponse:
    """Return the message of a bundle that is in force."""
    return pb.ActivatePolicyResponse(digest=done.digest, previous=done.previous, revision=done.revision)


def activated_from(message: pb.ActivatePolicyResponse) -> Activated:
    """Return what was put in force; by whom and when, `Shown` says."""
    return Activated(message.digest, message.previous, "", 0, message.revision)


def shown_to(shown: Shown) -> pb.GetPolicyResponse:
    """Return the message of a bundle."""
    return pb.GetPolicyResponse(
        digest=shown.digest,
        files=shown.files,
        active=shown.active,
        activated_by=shown.by,
        activated_at_seconds=shown.at,
    )


def shown_from(message: pb.GetPolicyResponse) -> Shown:
    """Return a bundle."""
    return Shown(
        message.digest, dict(message.files), message.active, message.activated_by, message.activated_at_seconds
    )
