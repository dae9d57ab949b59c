"""Mechanisms: rules, people, budgets, what stops things, and what is kept of them.

The law of this file: a table, and no word in it that a test does not stand behind.
"""

from __future__ import annotations

from chain.mechanism import Mechanism
from chain.reason import Reason

_R = Reason

OF_OPERATION = (
    Mechanism(
        "policy",
        "A versioned bundle of rules is asked of every hop and every call, and only narrows; a rule that errs denies.",
        (
            "tests/policy/test_conjunction.py::test_a_policy_only_narrows",
            "tests/policy/test_evaluation.py::test_a_forbid_that_errs_denies",
            "tests/attacks/test_live.py::test_bundle_that_does_not_validate_put_in_force",
        ),
        (_R.POLICY_DENIED, _R.POLICY_ERROR, _R.POLICY_INVALID),
        ("policy_activated",),
        lambda told: bool(told.policy) and "policy" not in told.shadow,
        "`chain policy activate`, and shadow without `policy`",
    ),
    Mechanism(
        "approval",
        "What the policy or a grant says waits for people: bound to the action, used once, by nobody of the chain.",
        (
            "tests/attacks/test_approvals.py::test_approval_for_other_arguments",
            "tests/attacks/test_approvals.py::test_approval_by_someone_in_the_chain",
            "tests/approvals/test_at_once.py::test_fifty_calls_and_one_approval",
        ),
        (
            *(_R.APPROVAL_REQUIRED, _R.APPROVAL_DENIED, _R.HOP_UNAPPROVED, _R.APPROVER_INELIGIBLE),
            *(_R.STATEMENT_INVALID, _R.REQUEST_CLOSED),
        ),
        ("approval_requested", "approval_resolved", "approval_consumed"),
        lambda told: told.gates > 0,
        "an active policy with `@approval` rules",
    ),
    Mechanism(
        "fatigue bounds",
        "So many requests wait for people and no more: of one agent, of one root and of all.",
        ("tests/approvals/test_flood.py::test_a_root_has_a_bound_of_its_own",),
        (_R.APPROVAL_THROTTLED,),
    ),
    Mechanism(
        "reviewed emergencies",
        "Who breaks the glass says why; it lasts a minute, and stays open until somebody else signs it off.",
        (
            "tests/approvals/test_emergency.py::test_without_a_justification_there_is_none",
            "tests/approvals/test_emergency.py::test_it_is_reviewed_by_somebody_else",
        ),
    ),
    Mechanism(
        "budgets",
        "Calls and money are counted for all beneath a grant together, through crashes too.",
        (
            "tests/attacks/test_live.py::test_sibling_budgets_summing_past_the_parent",
            "tests/budget/test_kill.py::test_many_spenders_never_overspend",
        ),
        (_R.BUDGET_EXCEEDED, _R.AMOUNT_UNREADABLE),
    ),
    Mechanism(
        "revocation",
        "A delegation, or all that bears a name, falls with everything beneath it, from the next call on.",
        (
            "tests/attacks/test_state.py::test_revoked_ancestor",
            "tests/control/test_strike.py::test_a_thousand_nodes",
        ),
        (_R.REVOKED,),
        ("revoked",),
    ),
    Mechanism(
        "suspension",
        "An agent with its workers, a trust domain, a task, a tool or everything stops at the next call.",
        (
            "tests/control/test_suspend.py::test_each_scope_stops_the_next_call",
            "tests/attacks/test_live.py::test_suspension_dodged_through_a_worker",
        ),
        (_R.SUSPENDED, _R.QUARANTINED),
        ("suspended", "lifted"),
    ),
    Mechanism(
        "circuit breaker",
        "Who is refused, or hands on, too often is suspended without anybody saying so.",
        (
            "tests/control/test_pace.py::test_denials_trip_the_breaker_and_the_cooldown_ends_it",
            "tests/control/test_pace.py::test_fan_out_trips_the_breaker",
        ),
        on=lambda told: told.denials > 0 and told.delegations > 0,
        setting="pace.denials and pace.delegations",
    ),
    Mechanism(
        "rate limits",
        "A principal has so many calls in a window, and so many delegations that have not ended.",
        (
            "tests/control/test_pace.py::test_a_rate_limit_recovers_and_says_when",
            "tests/control/test_pace.py::test_outstanding_delegations_have_an_end",
        ),
        (_R.RATE_LIMITED, _R.RESOURCE_EXHAUSTED),
        (),
        lambda told: told.calls > 0 and told.outstanding > 0,
        "pace.calls and pace.outstanding",
    ),
    Mechanism(
        "signals",
        "What others learn of a principal (risk, sessions, credentials) counts from the next call on.",
        (
            "tests/control/test_signal.py::test_risk_turns_the_next_call_and_back",
            "tests/control/test_signal.py::test_what_is_no_event_is_refused_with_its_code",
        ),
        (_R.SIGNAL_INVALID,),
        ("signalled",),
        lambda told: told.transmitters > 0,
        "signals",
    ),
    Mechanism(
        "record",
        "Every answer leaves after its record stands, in a ledger that outlives the process; never with a token in it.",
        (
            "tests/service/test_kill.py::test_nothing_acknowledged_is_lost",
            "tests/audit/test_questions.py::test_no_token_and_no_argument_stands_in_a_record",
        ),
        (),
        ("decided", "refused"),
        lambda told: told.kept,
        "ledger = a directory",
    ),
    Mechanism(
        "tamper evidence",
        "Records are leaves of a tree; from an export and a key alone, any change is found and named.",
        (
            "tests/audit/test_intact.py::test_ten_thousand_random_changes_are_all_found",
            "tests/audit/test_auditing.py::test_a_ledger_that_was_changed_underneath_gets_no_checkpoint",
        ),
        on=lambda told: told.checkpoints,
        setting="ledger = a directory, beside which the key lies",
    ),
    Mechanism(
        "witness",
        "Somebody else keeps what was signed, so that a record cut off or forked with its own key is found too.",
        (
            "tests/audit/test_auditing.py::test_a_witness_is_taken_and_nobody_else",
            "tests/audit/test_intact.py::test_a_log_that_signs_two_histories_is_found_by_who_kept_a_checkpoint",
        ),
        on=lambda told: told.witnessed,
        setting="checkpoints.copy_to or checkpoints.witnesses",
        kinds=("ledger_accepted",),
    ),
    Mechanism(
        "questions",
        "Who, for whom, by which hops and rules, approved by whom: answered from the record, as of any instant.",
        (
            "tests/audit/test_questions.py::test_through_which_hops_and_what_each_narrowed",
            "tests/audit/test_questions.py::test_what_was_tried_and_refused",
        ),
    ),
    Mechanism(
        "key rotation",
        "Issuer keys come and go while it runs; what a compromised one signed is dead on the next call.",
        (
            "tests/keys/test_turning.py::test_a_compromised_key_is_dead_on_the_next_call_and_another_goes_on",
            "tests/keys/test_turning.py::test_a_directory_restored_from_a_backup_brings_no_key_back",
        ),
        kinds=("key_changed",),
    ),
    Mechanism(
        "no leak",
        "No secret key, token, proof or argument stands in a log, an error, a record or a core dump.",
        (
            "tests/keys/test_leak.py::test_no_secret_is_written_anywhere",
            "tests/keys/test_leak.py::test_the_search_would_find_them",
        ),
    ),
    Mechanism(
        "guarded tools",
        "The library's guard runs a tool only on an answer that allows it, and with every obligation kept.",
        (
            "tests/client/test_client.py::test_whatever_is_not_an_allow_runs_no_tool",
            "tests/client/test_obligation.py::test_no_obligation_is_begun_where_another_is_unknown",
        ),
        (_R.SESSION_MISSING, _R.OBLIGATION_UNKNOWN, _R.UNREACHABLE),
    ),
    Mechanism(
        "running work",
        "A session whose chain falls takes no further step, and neither does one that cannot tell.",
        (
            "tests/watch/test_sessions.py::test_a_running_tool_stops_at_its_next_step",
            "tests/watch/test_sessions.py::test_a_lost_server_stops_the_tool",
        ),
        (_R.WATCH_LOST,),
    ),
    Mechanism(
        "policy tests",
        "A bundle is validated, tested and compared before it is put in force, or never is.",
        (
            "tests/policy/test_case.py::test_a_case_passes_only_where_it_comes_out_as_it_says",
            "tests/policy/test_diff.py::test_a_difference_is_found_and_shown",
        ),
    ),
    Mechanism(
        "people apart",
        "People speak with keys or tokens of their own; an agent enrols no human, and no agent approves.",
        (
            "tests/approvals/test_words.py::test_an_agent_cannot_enrol_a_human",
            "tests/approvals/test_by_token.py::test_a_stolen_token_approves_nothing",
        ),
    ),
)
