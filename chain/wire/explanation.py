"""Explanations, to the wire and back. For people; nothing here permits."""

from __future__ import annotations

from chain.base64url import b64encode
from chain.explain import Change, Explanation, HopExplanation, Lost
from chain.v1 import authorization_pb2
from chain.wire.decision import decision_from, decision_to, finding_to, findings_from
from chain.wire.delegation import id_to


def explanation_to(explanation: Explanation) -> authorization_pb2.ExplainResponse:
    """Return the message of an explanation."""
    return authorization_pb2.ExplainResponse(
        decision=decision_to(explanation.decision),
        hops=[hop_to(hop) for hop in explanation.hops],
        changes=[change_to(change) for change in explanation.changes],
    )


def change_to(change: Change) -> authorization_pb2.Change:
    """Return the message of one step."""
    return authorization_pb2.Change(
        kind=change.kind,
        field=change.field,
        before_json=change.before.encode(),
        after_json=change.after.encode(),
        words=change.words,
    )


def hop_to(hop: HopExplanation) -> authorization_pb2.HopExplanation:
    """Return the message of one hop."""
    return authorization_pb2.HopExplanation(
        hop=hop.hop,
        digest=id_to(hop.id),
        jti=hop.jti,
        holder=hop.holder,
        requested=[hop.requested] if hop.requested else [],
        granted=hop.granted,
        lost=[authorization_pb2.Narrowing(field=lost.field, parent=lost.before, child=lost.after) for lost in hop.lost],
        findings=[finding_to(finding) for finding in hop.findings],
        expires_at_seconds=hop.exp,
        rules=hop.rules,
    )


def explanation_from(message: authorization_pb2.ExplainResponse) -> Explanation:
    """Return the explanation that a message states."""
    hops = tuple(hop_from(hop) for hop in message.hops)
    return Explanation(decision_from(message.decision), hops, tuple(map(change_from, message.changes)))


def change_from(message: authorization_pb2.Change) -> Change:
    """Return the step that a message states."""
    before, after = message.before_json.decode(), message.after_json.decode()
    return Change(message.kind, message.field, before, after, message.words)


def hop_from(message: authorization_pb2.HopExplanation) -> HopExplanation:
    """Return the hop that a message states."""
    return HopExplanation(
        hop=message.hop,
        id=b64encode(message.digest),
        holder=message.holder,
        requested="\n".join(message.requested),
        granted=tuple(message.granted),
        lost=tuple(Lost(lost.field, before=lost.parent, after=lost.child) for lost in message.lost),
        findings=findings_from(message.findings),
        jti=message.jti,
        exp=message.expires_at_seconds,
        rules=tuple(message.rules),
    )
