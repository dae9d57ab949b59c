"""Every way an answer can turn out, named once.

The law of this file: a code, its number and its meaning stand together in one table. The library, the
proto enum, the ledger, the metrics and the documentation are drawn from it; numbers are never reused.
Codes follow the order of verification (TOKEN.md s4), because the first fault is the reason reported.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A stable machine code for one outcome.

    Attributes:
        number: the value in the proto enum ``chain.v1.Reason``; append-only.
        meaning: one sentence for a person.
    """

    number: int
    meaning: str

    def __new__(cls, code: str, number: int, meaning: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.number = number
        member.meaning = meaning
        return member

    ALLOWED = "allowed", 1, "every hop permits the request, as things stand now"

    # Sizes and form, before any cryptography (TOKEN.md s4, s5).
    CHAIN_EMPTY = "chain_empty", 10, "no token was presented"
    TOKEN_TOO_LARGE = "token_too_large", 11, "a token is longer than the limit"
    CHAIN_TOO_LARGE = "chain_too_large", 12, "the tokens together are longer than the limit"
    CHAIN_TOO_DEEP = "chain_too_deep", 13, "the chain has more hops than the limit"
    GRANT_TOO_LARGE = "grant_too_large", 14, "a grant names more tools or constraints than the limit"
    TOKEN_MALFORMED = "token_malformed", 15, "a token is not a strict compact JWS with strict JSON inside"
    HEADER_UNSUPPORTED = "header_unsupported", 16, "a JOSE header carries `crit` or an unexpected `typ`"
    ALGORITHM_REFUSED = "algorithm_refused", 17, "the algorithm is not allowed, or does not fit the verifying key"
    CLAIM_INVALID = "claim_invalid", 18, "a claim is missing, of the wrong type or out of bounds"
    KEY_INVALID = "key_invalid", 19, "a holder key is private, weak, not canonical or of an unknown type"
    CONSTRAINT_INVALID = "constraint_invalid", 20, "a constraint is of an unknown type or has wrong members"
    JTI_DUPLICATE = "jti_duplicate", 21, "two tokens of the chain carry one jti"

    # The root and its trust anchor.
    ANCHOR_UNKNOWN = "anchor_unknown", 30, "no trust anchor's key signed the root"
    ISSUER_MISMATCH = "issuer_mismatch", 31, "the anchor may not speak for the root's issuer"
    ANCHOR_EXCEEDED = "anchor_exceeded", 32, "the root asks for more than its anchor may grant"
    SIGNATURE_INVALID = "signature_invalid", 33, "a signature does not verify under the key it must"

    # The invariants between neighbours (I1-I5).
    DELEGATOR_MISMATCH = "delegator_mismatch", 40, "I1: the token was not issued by its parent's holder"
    DEPTH_INVALID = "depth_invalid", 41, "I2: the depth does not follow its parent's"
    DEPTH_EXCEEDED = "depth_exceeded", 42, "I2: the depth passes a ceiling, or the ceiling rises"
    LIFETIME_EXTENDED = "lifetime_extended", 43, "I3: the token would outlive its parent"
    ISSUED_BEFORE_PARENT = "issued_before_parent", 44, "I3: the token is older than its parent"
    TOOL_ADDED = "tool_added", 45, "I4: a tool that the parent does not grant"
    ARGUMENT_ADDED = "argument_added", 46, "I4: an argument that the parent does not name"
    ARGUMENT_DROPPED = "argument_dropped", 47, "I4: an argument that the parent constrains is no longer named"
    CONSTRAINT_WIDENED = "constraint_widened", 48, "I4: a constraint is not contained in the parent's"
    CLASS_ADDED = "class_added", 49, "I4: an action class that the parent does not grant"
    CLASSIFICATION_RAISED = "classification_raised", 50, "I4: a higher data label than the parent's"
    PURPOSE_WIDENED = "purpose_widened", 51, "I4: a purpose that lies under none of the parent's"
    BUDGET_RAISED = "budget_raised", 52, "I4: a budget above the parent's, or in another currency or argument"
    APPROVAL_WEAKENED = "approval_weakened", 53, "I4: an approval gate is missing or weaker than the parent's"
    AUDIENCE_WIDENED = "audience_widened", 54, "I4: an audience that the parent does not name"
    LIMIT_DROPPED = "limit_dropped", 55, "I4: a limit of the parent is not restated"
    FACT_CHANGED = "fact_changed", 56, "a fact of the root is introduced or changed below the root"
    EXTENSION_DROPPED = "extension_dropped", 57, "a plain token under a token with limits or root facts"
    CONTAINMENT_UNDECIDED = "containment_undecided", 58, "containment could not be decided within the step cap"
    PARENT_MISMATCH = "parent_mismatch", 59, "I5: par_hash is not the digest of the parent presented"
    CHAIN_INCOMPLETE = "chain_incomplete", 60, "the chain does not reach from its root to its leaf"

    # Permission, asked of every hop on every call.
    NOT_YET_VALID = "not_yet_valid", 70, "issued in the future"
    EXPIRED = "expired", 71, "past its expiry"
    LIFETIME_EXCEEDED = "lifetime_exceeded", 72, "lives longer than the verifier allows"
    AUDIENCE_MISSING = "audience_missing", 73, "bound to an audience, and the request names none"
    AUDIENCE_MISMATCH = "audience_mismatch", 74, "bound to another audience"
    TOOL_NOT_GRANTED = "tool_not_granted", 75, "the tool is not granted"
    ARGUMENT_NOT_GRANTED = "argument_not_granted", 76, "an argument that the grant does not name"
    ARGUMENT_MISSING = "argument_missing", 77, "an argument that the grant constrains is absent"
    CONSTRAINT_VIOLATED = "constraint_violated", 78, "an argument value that the constraint does not permit"

    # The proof of possession, or the channel in its place.
    PROOF_MISSING = "proof_missing", 90, "neither a proof nor a channel shows who the holder is"
    PROOF_INVALID = "proof_invalid", 91, "the proof is malformed or has wrong claims"
    HOLDER_MISMATCH = "holder_mismatch", 92, "the caller does not hold the leaf's key"
    PROOF_TOKEN_MISMATCH = "proof_token_mismatch", 93, "the proof was made for another token"
    PROOF_TOOL_MISMATCH = "proof_tool_mismatch", 94, "the proof was made for another tool"
    PROOF_ARGUMENTS_MISMATCH = "proof_arguments_mismatch", 95, "the proof was made for other arguments"
    PROOF_AUDIENCE_MISMATCH = "proof_audience_mismatch", 96, "the proof was made for another enforcement point"
    PROOF_CONTEXT_MISMATCH = "proof_context_mismatch", 97, "the proof was made for other facts of the request"
    PROOF_STALE = "proof_stale", 98, "the proof is too old, or from the future"
    REPLAY = "replay", 99, "the proof or request id was used before"
    REQUEST_ID_MISSING = "request_id_missing", 100, "a write or act over a channel carries no single-use request id"

    # Live state.
    REVOKED = "revoked", 110, "revoked, here or at an ancestor"
    HOLDER_UNKNOWN = "holder_unknown", 111, "a holder that nobody enrolled may not write or act"
    CLASS_NOT_GRANTED = "class_not_granted", 112, "the tool's action class is not granted"
    CLASSIFICATION_EXCEEDED = "classification_exceeded", 113, "the data label is above what is granted"
    PURPOSE_MISSING = "purpose_missing", 114, "bound to purposes, and the request declares none"
    PURPOSE_MISMATCH = "purpose_mismatch", 115, "the declared purpose lies under none that is granted"
    INTENT_MISSING = "intent_missing", 116, "bound to an instruction, and the request declares none"
    INTENT_MISMATCH = "intent_mismatch", 117, "the declared instruction is not the one that started the task"
    STATE_UNAVAILABLE = "state_unavailable", 118, "state that the chain depends on is not kept here"
    SUSPENDED = "suspended", 119, "the agent, its trust domain, the task, the tool or everything is suspended"
    QUARANTINED = "quarantined", 120, "the agent, its trust domain, the task or everything may only read"
    RATE_LIMITED = "rate_limited", 121, "the principal asks more often than it may"

    # Policy, approval and budget, for the call as a whole.
    POLICY_DENIED = "policy_denied", 122, "a rule of the policy forbids it, or none permits it"
    POLICY_ERROR = "policy_error", 123, "the policy could not be evaluated, which permits nothing"
    HOP_UNAPPROVED = "hop_unapproved", 124, "the policy wants this hop approved by a human, and it was not"
    APPROVAL_REQUIRED = "approval_required", 125, "a human has to approve this very call first"
    APPROVAL_DENIED = "approval_denied", 126, "a human refused this very call"
    APPROVAL_THROTTLED = "approval_throttled", 127, "too many approvals are asked for at once"
    BUDGET_EXCEEDED = "budget_exceeded", 128, "more than is left of a budget, here or at an ancestor"
    AMOUNT_UNREADABLE = "amount_unreadable", 129, "the amount of the call cannot be read from its argument"

    # The authority itself.
    DIGEST_UNKNOWN = "digest_unknown", 130, "no chain with this digest was seen here"
    REVISION_UNKNOWN = "revision_unknown", 131, "a revision from the future, or one this node has not reached"
    CLOCK_BEHIND = "clock_behind", 132, "the clock is behind the ledger"
    STORE_UNAVAILABLE = "store_unavailable", 133, "the ledger could not take the record"
    REQUEST_INVALID = "request_invalid", 134, "the request itself is not well formed"
    NOT_FOUND = "not_found", 135, "no such delegation"
    CONFLICT = "conflict", 136, "the idempotency key was used for another request"
    UNAUTHENTICATED = "unauthenticated", 137, "the caller is not known"
    PERMISSION_DENIED = "permission_denied", 138, "the caller's roles or lineage do not allow this"
    RESOURCE_EXHAUSTED = "resource_exhausted", 139, "a limit of the service is reached"
    INTERNAL = "internal", 140, "the service failed; nothing was permitted"
    POLICY_INVALID = "policy_invalid", 141, "the policy bundle does not validate"
    STATEMENT_INVALID = "statement_invalid", 142, "the approver's statement is not one for this request"
    APPROVER_INELIGIBLE = "approver_ineligible", 143, "this person may not approve this request"
    REQUEST_CLOSED = "request_closed", 144, "the approval request is decided, used or expired"
    SIGNAL_INVALID = "signal_invalid", 145, "the security event is not one that is accepted"
    CURSOR_INVALID = "cursor_invalid", 146, "no stream can go on from this revision"
    CONSUMER_SLOW = "consumer_slow", 147, "the reader of the stream was too slow and has to go on from its cursor"
    FACT_MISSING = "fact_missing", 148, "a root without what every root must name here: owner, purposes or task"
    SIGNER_UNAVAILABLE = "signer_unavailable", 149, "the issuer's key, or what certifies it, cannot be used now"

    # The client side of a refusal (enforcement point).
    UNREACHABLE = "unreachable", 150, "the service did not answer in time"
    SESSION_MISSING = "session_missing", 151, "no session is active"
    OBLIGATION_UNKNOWN = "obligation_unknown", 152, "an obligation that the enforcement point cannot keep"
    WATCH_LOST = "watch_lost", 153, "nobody can tell whether the chain still stands"

    # The issuer's own keys.
    KEY_RING_MISSING = "key_ring_missing", 160, "no key ring is kept here"
    KEY_RING_UNAVAILABLE = "key_ring_unavailable", 161, "the key ring could not be read, opened or written"
    KEY_STATE_INVALID = "key_state_invalid", 162, "the key stands where this may not follow"
    SIGNING_KEY_MISSING = "signing_key_missing", 163, "no key of the issuer is active, so that nothing is signed"
