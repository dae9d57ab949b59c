"""Mechanisms: what a chain, a proof and a call are asked, whatever has happened.

The law of this file: a table, and no word in it that a test does not stand behind.
"""

from __future__ import annotations

from chain.mechanism import Mechanism
from chain.reason import Reason

SHORT = 3600
"""Seconds: a root with a critical tool that lives longer is no short-lived one."""

_R = Reason

OF_CALLS = (
    Mechanism(
        "attenuation",
        "A delegation gives no more than the one above it; asked when it is made, and again at every call.",
        (
            "tests/attacks/test_widening.py::test_constraint_widened",
            "tests/attacks/test_linkage.py::test_lifetime_extended",
            "tests/core/test_laws.py::test_what_a_child_permits_its_parent_permits",
        ),
        (
            *(_R.TOOL_ADDED, _R.ARGUMENT_ADDED, _R.ARGUMENT_DROPPED, _R.CONSTRAINT_WIDENED, _R.CLASS_ADDED),
            *(
                _R.CLASSIFICATION_RAISED,
                _R.PURPOSE_WIDENED,
                _R.BUDGET_RAISED,
                _R.APPROVAL_WEAKENED,
                _R.AUDIENCE_WIDENED,
            ),
            *(_R.LIMIT_DROPPED, _R.FACT_CHANGED, _R.EXTENSION_DROPPED, _R.CONTAINMENT_UNDECIDED, _R.ANCHOR_EXCEEDED),
            *(_R.DEPTH_INVALID, _R.DEPTH_EXCEEDED, _R.LIFETIME_EXTENDED, _R.ISSUED_BEFORE_PARENT),
        ),
        ("delegated", "admitted"),
        lambda told: told.profile == "sound",
        'profile = "sound"',
    ),
    Mechanism(
        "every call",
        "Each call is decided anew, against every hop; no answer is kept.",
        (
            "tests/control/test_fresh.py::test_no_allow_is_stale",
            "tests/attacks/test_widening.py::test_every_hop_is_asked",
        ),
        kinds=("decided",),
    ),
    Mechanism(
        "deny by default",
        "What is not granted is refused, and whatever fails denies.",
        (
            "tests/laws/test_faults.py::test_a_part_that_fails_denies",
            "tests/attacks/test_state.py::test_denial_taken_for_success",
        ),
        (
            _R.TOOL_NOT_GRANTED,
            _R.POLICY_ERROR,
            _R.STORE_UNAVAILABLE,
            _R.STATE_UNAVAILABLE,
            _R.INTERNAL,
            _R.CLOCK_BEHIND,
        ),
    ),
    Mechanism(
        "arguments",
        "A tool is granted with constraints on its arguments, and an argument that none names is refused.",
        (
            "tests/attacks/test_widening.py::test_argument_not_named",
            "tests/attacks/test_widening.py::test_path_outside",
        ),
        (_R.ARGUMENT_NOT_GRANTED, _R.ARGUMENT_MISSING, _R.CONSTRAINT_VIOLATED),
    ),
    Mechanism(
        "whole chain",
        "Every signature from the trust anchor to the leaf is verified, with a strict parser before it.",
        (
            "tests/attacks/test_signatures.py::test_untrusted_root",
            "tests/attacks/test_signatures.py::test_changed_byte",
            "tests/attacks/test_linkage.py::test_splice_onto_a_compatible_parent",
        ),
        (
            *(_R.SIGNATURE_INVALID, _R.ANCHOR_UNKNOWN, _R.ISSUER_MISMATCH, _R.DELEGATOR_MISMATCH, _R.PARENT_MISMATCH),
            *(_R.CHAIN_INCOMPLETE, _R.TOKEN_MALFORMED, _R.ALGORITHM_REFUSED, _R.HEADER_UNSUPPORTED, _R.JTI_DUPLICATE),
            *(_R.CLAIM_INVALID, _R.KEY_INVALID, _R.CONSTRAINT_INVALID),
        ),
    ),
    Mechanism(
        "possession",
        "Who calls proves to hold the leaf, for this very call and once; a stolen token alone is worth nothing.",
        (
            "tests/attacks/test_possession.py::test_stolen_token_with_another_key",
            "tests/attacks/test_possession.py::test_proof_replayed",
            "tests/attacks/test_possession.py::test_proof_arguments_swapped",
        ),
        (
            *(_R.PROOF_MISSING, _R.PROOF_INVALID, _R.HOLDER_MISMATCH, _R.PROOF_TOKEN_MISMATCH, _R.PROOF_TOOL_MISMATCH),
            *(_R.PROOF_ARGUMENTS_MISMATCH, _R.PROOF_AUDIENCE_MISMATCH, _R.PROOF_CONTEXT_MISMATCH, _R.PROOF_STALE),
            *(_R.REPLAY, _R.REQUEST_ID_MISSING),
        ),
    ),
    Mechanism(
        "callers",
        "No RPC answers whom it does not know, or whose role the table of methods does not name.",
        (
            "tests/service/test_gate.py::test_exactly_the_roles_of_the_table_pass",
            "tests/service/test_mutual.py::test_no_method_is_open_to_who_is_no_caller",
        ),
        (_R.UNAUTHENTICATED, _R.PERMISSION_DENIED),
    ),
    Mechanism(
        "channel",
        "Secrets cross a network under TLS only; without it a server listens on loopback and sockets only.",
        (
            "tests/service/test_start.py::test_an_unsafe_configuration_is_refused",
            "tests/service/test_transport.py::test_with_tls_a_client_needs_the_right_roots_and_may_not_speak_plain",
        ),
    ),
    Mechanism(
        "workload identity",
        "Workloads call with X.509- or JWT-SVIDs, or over sockets of their own, instead of secrets.",
        (
            "tests/identity/test_x509svid.py::test_what_is_wrong_is_refused_with_its_code_and_its_twin_is_not",
            "tests/service/test_mutual.py::test_a_stolen_token_is_another_holders",
        ),
        on=lambda told: told.mutual_tls or told.tokens or told.sockets,
        setting="mtls_listen, identity.jwt_audience, or callers.socket",
    ),
    Mechanism(
        "trust domains",
        "A peer is verified against its own trust domain's bundle; one without keys is trusted by nobody.",
        (
            "tests/client/test_identity.py::test_authorities_of_another_trust_domain_do_not_vouch_for_the_server",
            "tests/service/test_mutual.py::test_a_bundle_without_keys_trusts_nobody_on_the_very_next_call_and_ends_streams",
            "tests/policy/test_memory.py::test_no_hop_outside_acme_below_depth_one",
        ),
        on=lambda told: told.mutual_tls or told.tokens,
        setting="mtls_listen or identity.jwt_audience",
    ),
    Mechanism(
        "enrolment",
        "Keys are enrolled for a principal with an owner; a holder that nobody enrolled neither writes nor acts.",
        (
            "tests/attacks/test_state.py::test_child_minted_to_a_fresh_unenrolled_key",
            "tests/attacks/test_state.py::test_enrolment_taken_over",
        ),
        (_R.HOLDER_UNKNOWN,),
        ("enrolled",),
    ),
    Mechanism(
        "short life",
        f"A root with a critical tool lives for {SHORT} seconds at the most, and nothing outlives its parent.",
        (
            "tests/issue/test_issue.py::test_the_most_sensitive_tool_says_how_long",
            "tests/attacks/test_linkage.py::test_immortal_token",
            "tests/attacks/test_live.py::test_lifetime_of_a_sensitive_tool_stretched",
        ),
        (_R.EXPIRED, _R.LIFETIME_EXCEEDED, _R.NOT_YET_VALID),
        (),
        lambda told: 0 < told.lifetime <= SHORT,
        f"lifetimes.critical = {SHORT} or less",
    ),
    Mechanism(
        "accountable roots",
        "A root names who answers for it, what it is for and the task that it lives for, or is not issued.",
        ("tests/issue/test_issue.py::test_a_root_that_nobody_answers_for_is_not_issued",),
        (_R.FACT_MISSING,),
        ("issued",),
        lambda told: set(told.must_name) == {"owner", "purposes", "task"},
        'roots_must_name = ["owner", "purposes", "task"]',
    ),
    Mechanism(
        "classes",
        "To read, to write and to act are granted apart, and none implies another.",
        ("tests/attacks/test_widening.py::test_class_not_granted", "tests/attacks/test_widening.py::test_class_added"),
        (_R.CLASS_NOT_GRANTED,),
        (),
        lambda told: "class" not in told.shadow,
        "shadow without `class`",
    ),
    Mechanism(
        "classification",
        "A grant has a highest data label; a call that touches or may touch more is refused.",
        ("tests/attacks/test_widening.py::test_classification_exceeded",),
        (_R.CLASSIFICATION_EXCEEDED,),
    ),
    Mechanism(
        "purpose and intent",
        "A grant may be bound to purposes and to the digest of the instruction that started the task.",
        (
            "tests/attacks/test_widening.py::test_purpose_of_another_name",
            "tests/attacks/test_possession.py::test_intent_of_another_task",
        ),
        (_R.PURPOSE_MISSING, _R.PURPOSE_MISMATCH, _R.INTENT_MISSING, _R.INTENT_MISMATCH),
    ),
    Mechanism(
        "audience",
        "A proof is for one enforcement point, and a grant may be for some; elsewhere they permit nothing.",
        (
            "tests/attacks/test_possession.py::test_proof_relayed_to_another_enforcement_point",
            "tests/attacks/test_widening.py::test_audience_mismatch",
        ),
        (_R.AUDIENCE_MISSING, _R.AUDIENCE_MISMATCH, _R.PROOF_AUDIENCE_MISMATCH),
    ),
)
