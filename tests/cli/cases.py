"""Attacks on the judge: each begins with a question that is allowed and changes one thing.

`attack` takes the allowed question and returns the other one; `reason` and `hop` are what the answer must say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from chain.jws import join
from tests.cli import material as m
from tests.cli.material import Question


class Case(NamedTuple):
    name: str
    base: Callable[[], Question]
    attack: Callable[[Question], Question]
    reason: str
    hop: int | None


def _set(**members: object) -> Callable[[Question], Question]:
    """Change facts of the question itself."""

    def attack(question: Question) -> Question:
        for name, value in members.items():
            setattr(question, name, value)
        return question

    return attack


def _facts(**facts: object) -> Callable[[Question], Question]:
    """Change what is stated; the proof is made for it."""

    def attack(question: Question) -> Question:
        question.facts |= facts
        return question

    return attack


def _extra(**members: object) -> Callable[[Question], Question]:
    """Change members that no proof covers; None removes one."""

    def attack(question: Question) -> Question:
        question.extra |= members
        return question

    return attack


def _proof(**parts: object) -> Callable[[Question], Question]:
    """Make the proof for something else."""

    def attack(question: Question) -> Question:
        question.proof_parts |= parts
        return question

    return attack


def _leaf(
    grant: dict[str, Any] | None = None,
    **claims: Any,
) -> Callable[[Question], Question]:
    """Forge the leaf: signed by its true delegator, but saying something else."""

    def attack(question: Question) -> Question:
        question.tokens[-1] = m.child(question.tokens[-2], grant, **claims)
        return question

    return attack


def _tokens(change: Callable[[list[str]], list[str]]) -> Callable[[Question], Question]:
    def attack(question: Question) -> Question:
        question.proof = question.made()
        question.tokens = change(question.tokens)
        return question

    return attack


def _range(top: int) -> dict[str, Any]:
    return {"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": top}}}}


def _limits(**limits: object) -> dict[str, Any]:
    kept = {"classes": ["act"], "classification": "confidential", "purposes": ["travel.booking"]}
    return m.PAY | {"limits": kept | limits}


def _rich_leaf(**limits: object) -> Callable[[Question], Question]:
    return _leaf(_limits(**limits), aud=(m.PEP,))


def _other_root(question: Question) -> Question:
    """Splice the leaf onto a root that grants the same."""
    return _tokens(lambda tokens: [m.root(jti="other"), tokens[1]])(question)


def _unproven_prefix(question: Question) -> Question:
    """The child presents its parent alone, whose grant is wider."""
    question.tokens = question.tokens[:-1]
    return question


def _none(question: Question) -> Question:
    header, _, rest = question.tokens[0].partition(".")
    del header
    question.proof = question.made()
    question.tokens[0] = f"eyJhbGciOiJub25lIn0.{rest}"
    return question


def _proof_as_token(question: Question) -> Question:
    question.proof = question.tokens[-1]
    return question


def _twice(question: Question) -> Question:
    top = m.root(jti="same")
    question.tokens = [top, m.child(top, jti="same")]
    return question


def _typed(question: Question) -> Question:
    payload = m.leaf([question.tokens[0]])
    made = join({"typ": "JWT"}, msgspec.json.encode(payload.claims), m.ROOT)
    question.proof = question.made()
    question.tokens[0] = made
    return question


_CHANNEL = {"holder": "channel", "proof": None}


def channel() -> Question:
    question = m.plain()
    question.extra |= _CHANNEL
    return question


def plain_channel_no_audience() -> Question:
    question = channel()
    question.audience = None
    return question


def reading() -> Question:
    question = m.plain()
    question.tokens = [m.root()]
    question.by, question.tool, question.args = m.A, "mail.read", {"folder": "in"}
    return question


def aat() -> Question:
    return m.stranger(m.plain())


def _drop(question: Question, fact: str) -> Question:
    del question.facts[fact]
    return question


def _plain_only(question: Question) -> Question:
    question.tokens = m.rich().tokens
    question.extra["profile"] = "aat-01"
    return question


def _draft(question: Question) -> Question:
    """What is truly narrower, and what the draft's table does not list: one_of inside a range."""
    some = {"tools": {"bank.pay": {"amount": {"constraint_type": "one_of", "values": [20]}}}}
    question.tokens[-1] = m.child(question.tokens[1], some, holder=m.C, by=m.B)
    question.extra["profile"] = "aat-01"
    return question


CASES: tuple[Case, ...] = (
    # Form and sizes.
    Case("no token", m.plain, _tokens(lambda _: []), "chain_empty", None),
    Case("token too large", m.plain, _tokens(lambda t: [t[0], "a" * 70_000]), "token_too_large", 1),
    Case("chain too deep", m.plain, _tokens(lambda t: [*t, *(["a"] * 70)]), "chain_too_deep", None),
    Case("not a token", m.plain, _tokens(lambda t: [t[0], "a.b"]), "token_malformed", 1),
    Case("padding after the signature", m.plain, _tokens(lambda t: [t[0], t[1] + "=="]), "token_malformed", 1),
    Case("alg none", m.plain, _none, "algorithm_refused", 0),
    Case("wrong typ", m.plain, _typed, "header_unsupported", 0),
    Case("two tokens with one jti", m.plain, _twice, "jti_duplicate", 1),
    # The root and its anchor.
    Case("untrusted root", m.plain, _set(anchors=[m.anchor(m.OTHER)]), "anchor_unknown", 0),
    Case("no anchor at all", m.plain, _set(anchors=[]), "anchor_unknown", 0),
    Case(
        "anchor of another issuer", m.plain, _set(anchors=[m.anchor(issuer="https://x.example")]), "issuer_mismatch", 0
    ),
    Case("changed byte", m.plain, _tokens(lambda t: [m.edited(t[0], b"100", b"900"), t[1]]), "signature_invalid", 0),
    Case(
        "changed byte below", m.plain, _tokens(lambda t: [t[0], m.edited(t[1], b"50", b"99")]), "signature_invalid", 1
    ),
    # Links.
    Case("changed signature", m.three, _tokens(lambda t: [t[0], m.flipped(t[1], -20), t[2]]), "signature_invalid", 1),
    Case("dropped link", m.three, _tokens(lambda t: [t[0], t[2]]), "signature_invalid", 1),
    Case("reversed chain", m.plain, _tokens(lambda t: t[::-1]), "anchor_unknown", 0),
    Case("no root", m.three, _tokens(lambda t: t[1:]), "anchor_unknown", 0),
    Case("leaf twice", m.plain, _tokens(lambda t: [*t, t[1]]), "jti_duplicate", 2),
    Case("wrong delegator", m.plain, _leaf(by=m.C), "signature_invalid", 1),
    Case("foreign iss", m.plain, _leaf(iss=m.ISSUER), "delegator_mismatch", 1),
    Case("depth skipped", m.plain, _leaf(del_depth=2), "depth_invalid", 1),
    Case("ceiling raised", m.plain, _leaf(del_max_depth=9), "depth_exceeded", 1),
    Case("lifetime extended", m.plain, _leaf(exp=m.NOW + 99_999), "lifetime_extended", 1),
    Case("older than its parent", m.plain, _leaf(iat=m.NOW - 90), "issued_before_parent", 1),
    Case("splice onto a like parent", m.plain, _other_root, "parent_mismatch", 1),
    Case("no par_hash", m.plain, _leaf(par_hash=msgspec.UNSET), "parent_mismatch", 1),
    Case("tool added", m.plain, _leaf({"tools": {"shell.run": {}}}), "tool_added", 1),
    Case("constraint widened", m.plain, _leaf(_range(5000)), "constraint_widened", 1),
    Case("constraint dropped", m.plain, _leaf({"tools": {"bank.pay": {}}}), "argument_dropped", 1),
    Case("class added", m.rich, _rich_leaf(classes=["act", "write"]), "class_added", 1),
    Case("classification raised", m.rich, _rich_leaf(classification="restricted"), "classification_raised", 1),
    Case("purpose widened", m.rich, _rich_leaf(purposes=["finance"]), "purpose_widened", 1),
    Case("audience widened", m.rich, _leaf(_limits(), aud=("https://evil.example",)), "audience_widened", 1),
    Case("root fact changed", m.rich, _leaf(_limits(), aud=(m.PEP,), sub="mallory"), "fact_changed", 1),
    # Permission.
    Case("expired", m.plain, _extra(now=m.NOW + 3601), "expired", 0),
    Case("expired leaf under a live root", m.plain, _extra(now=m.NOW + 1800), "expired", 1),
    Case("from the future", m.plain, _extra(now=m.NOW - 3600), "not_yet_valid", 0),
    Case("another audience", m.rich, _set(audience="https://other.example"), "audience_mismatch", 1),
    Case("audience not given", m.rich, _set(audience=None), "audience_missing", 0),
    Case("tool not granted at the leaf", m.plain, _set(tool="mail.read", args={"folder": "in"}), "tool_not_granted", 1),
    Case("tool granted nowhere", m.plain, _set(tool="shell.run"), "tool_not_granted", 0),
    Case("look-alike tool", m.plain, _set(tool="bank.pаy"), "tool_not_granted", 0),  # noqa: RUF001 - a Cyrillic letter
    Case("over the leaf's range", m.plain, _set(args={"amount": 51}), "constraint_violated", 1),
    Case("over every range", m.plain, _set(args={"amount": 101}), "constraint_violated", 0),
    Case("boolean for a number", m.plain, _set(args={"amount": True}), "constraint_violated", 0),
    Case("text for a number", m.plain, _set(args={"amount": "20"}), "constraint_violated", 0),
    Case("argument missing", m.plain, _set(args={}), "argument_missing", 0),
    Case("argument not named", m.plain, _set(args={"amount": 1, "to": "x"}), "argument_not_granted", 0),
    Case("value outside the set", reading, _set(args={"folder": "In"}), "constraint_violated", 0),
    # The holder.
    Case("no proof", m.plain, _extra(proof=None), "proof_missing", 1),
    Case("stolen token, another key", m.plain, _set(by=m.C), "holder_mismatch", 1),
    Case("parent presented by the child", m.plain, _unproven_prefix, "holder_mismatch", 0),
    Case("proof for another tool", m.plain, _proof(tool="bank.read"), "proof_tool_mismatch", 1),
    Case("proof for other arguments", m.plain, _proof(arguments={"amount": 19}), "proof_arguments_mismatch", 1),
    Case("proof for another token", m.plain, _proof(leaf=m.leaf(m.three().tokens)), "proof_token_mismatch", 1),
    Case("proof for another point", m.plain, _proof(audience="https://x.example"), "proof_audience_mismatch", 1),
    Case("proof for another purpose", m.rich, _proof(facts={"purpose": "x"}), "proof_context_mismatch", 1),
    Case("stale proof", m.plain, _proof(iat=m.NOW - 31), "proof_stale", 1),
    Case("proof from the future", m.plain, _proof(iat=m.NOW + 31), "proof_stale", 1),
    Case("a token for a proof", m.plain, _proof_as_token, "proof_invalid", 1),
    Case("garbage for a proof", m.plain, _set(proof="a.b.c"), "proof_invalid", 1),
    Case("no audience for a proof", m.plain, _set(audience=None), "audience_missing", 1),
    Case("channel taken away", channel, _extra(holder=None), "proof_missing", 1),
    Case("channel beside a bad proof", channel, _extra(proof="a.b.c"), "proof_invalid", 1),
    # Live facts.
    Case("root revoked", m.plain, _extra(revoked=["root"]), "revoked", 0),
    Case("leaf revoked", m.plain, _extra(revoked=["else", "hop-1"]), "revoked", 1),
    Case("class not granted", m.rich, _extra(catalogue={"bank.pay": "write"}), "class_not_granted", 0),
    Case("data above the label", m.rich, _facts(classification="restricted"), "classification_exceeded", 0),
    Case("unknown label", m.rich, _facts(classification="cosmic"), "classification_exceeded", 0),
    Case("nobody says what is touched", m.rich, _extra(classification=None), "classification_exceeded", 0),
    Case("another purpose", m.rich, _facts(purpose="travelling"), "purpose_mismatch", 0),
    Case("no purpose", m.rich, lambda q: _drop(q, "purpose"), "purpose_missing", 0),
    Case("another intent", m.rich, _facts(intent="bm90IGl0"), "intent_mismatch", 0),
    Case("no intent", m.rich, lambda q: _drop(q, "intent"), "intent_missing", 0),
    Case("budget is kept elsewhere", m.rich, _rich_leaf(budget={"calls": 3}), "state_unavailable", 1),
    # Profiles.
    Case("a stranger's proof where ours is asked", aat, _extra(profile="sound"), "proof_invalid", 1),
    Case("limits where plain is asked", plain_channel_no_audience, _plain_only, "claim_invalid", 0),
    Case("sound containment under the draft's table", m.three, _draft, "constraint_widened", 2),
)
