"""TOKEN.md s6, attack by attack: each has a test of its name, or a reason why it cannot have one yet."""

from __future__ import annotations

import ast
from pathlib import Path

TESTED = """
untrusted_root anchor_minting_for_another_issuer wrong_delegator changed_byte transplanted_signature wrong_par_hash
splice_onto_a_compatible_parent tokens_of_two_roots missing_link shuffled_links reversed_chain duplicate_link
orphan_link empty_chain algorithm_none hmac_with_the_public_key key_type_mismatch depth_skipped depth_over_maximum
terminal_redelegated lifetime_extended expired_ancestor_under_a_fresh_leaf child_older_than_its_parent tool_added
constraint_widened constraint_dropped constraint_added constraint_rewidened_to_wildcard one_of_to_not_one_of
contains_and_subset_swapped class_added class_dropped classification_raised classification_dropped purpose_widened
purpose_dropped audience_widened audience_dropped budget_raised budget_dropped stolen_token_with_another_key
proof_tool_swapped proof_arguments_swapped proof_stale proof_from_the_future proof_replayed
proof_replayed_concurrently proof_replayed_after_a_restart audience_mismatch type_confusion number_confusion
look_alike_tool_names duplicate_json_keys nesting_bomb size_bomb matching_bomb two_leaves_with_one_jti
parent_presented_by_the_child truncated_chain approval_gate_stripped revoke_racing_check
state_that_nobody_keeps_here delegate_without_proof denial_taken_for_success root_fact_below_the_root
subject_of_another_anchor child_minted_to_a_victims_key child_minted_to_a_fresh_unenrolled_key
proof_relayed_to_another_enforcement_point proof_for_check_used_on_delegate proof_denied_once_and_presented_again
middle_token_with_both_entry_types small_order_key four_spellings_of_one_jwk same_jti_squatting revoking_by_a_copy
warm_cache_with_a_corrupt_signature warm_cache_with_a_removed_anchor warm_cache_with_another_profile
keyed_retry_counted_as_a_second_permission es256_second_identity unreadable_amount foreign_currency_amount
revision_from_the_future one_nonce_twice_in_a_batch sibling_budgets_summing_past_the_parent
second_authority_spending_the_same_budget
approval_forged approval_duplicated approval_expired approval_for_other_arguments
approval_by_someone_in_the_chain proof_presented_after_an_approval
""".split()  # noqa: SIM905 - a list to read
"""Named in TOKEN.md s6."""

BEYOND = """
private_member_in_a_key critical_header malleable_text token_of_the_future immortal_token
nothing_granted_in_the_middle extension_dropped limits_in_a_plain_entry warm_cache_with_a_leaf_alone
warm_cache_with_an_anchor_removed_while_it_runs verification_that_a_swap_overtakes swaps_under_many_verifications
argument_not_named every_hop_is_asked class_not_granted classification_exceeded purpose_of_another_name
status_that_nobody_reads_here look_alike_argument_names reserved_tool unknown_constraint path_outside
proof_of_another_leaf_of_the_same_holder proof_of_two_leaves_with_one_nonce proof_replayed_when_the_clock_steps_back
single_use_id_replayed_when_the_clock_steps_back revoke_without_proof facts_stated_beside_the_proof
facts_stated_beside_the_proof_of_a_plain_holder intent_of_another_task token_taken_for_a_proof
certificate_that_nothing_proves revoked_ancestor delegation_under_a_revoked_parent revoking_a_stranger
enrolment_taken_over worker_enrolled_under_another_owner clock_behind_the_ledger garbage_in_the_ledger
retried_change confused_roles lineage_of_others longest_chain many_tools_and_arguments nested_json_bomb
poisoned_call_in_a_batch matching_needs_distinct_clauses containment_bomb argument_bomb
refusal_that_grows_with_the_grant clauses_bomb anchors_tried_for_a_stranger budget_raced_by_many
budget_refilled_by_a_negative_amount budget_reset_by_a_fresh_leaf budget_reset_by_a_restart budget_drained_by_a_stranger
amount_in_an_argument_that_nobody_counts amount_in_a_currency_that_the_agent_names
amount_that_two_readers_read_differently budget_dodged_in_shadow suspension_dodged_with_another_key
suspension_dodged_through_a_worker suspension_that_spills_over_to_a_look_alike suspension_outlived_by_a_restart
quarantine_left_by_handing_on hop_remembered_under_another_policy hop_remembered_of_another_principal
hop_remembered_from_a_shorter_chain hop_that_waits_for_people_used_before_they_spoke
bundle_that_does_not_validate_put_in_force lifetime_of_a_sensitive_tool_stretched
findings_that_hide_a_missing_proof findings_that_hide_a_budget_in_shadow amount_too_large_for_the_policy_in_shadow
approval_that_a_rule_reads_used_for_many_calls
""".split()  # noqa: SIM905 - a list to read
"""Found while breaking it."""

LATER = {
    "a stream outliving its credential": "the service's own tests",
}


def named() -> list[str]:
    found = []
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.name != Path(__file__).name:
            tree = ast.parse(file.read_text())
            found += [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name.removeprefix("test_") for name in found if name.startswith("test_")]


def test_every_attack_has_its_test() -> None:
    tests = named()
    assert sorted(tests) == sorted(TESTED + BEYOND)
    assert len(set(tests)) == len(tests)
    assert (len(TESTED), len(BEYOND), len(LATER)) == (93, 76, 1)


def test_every_attack_has_its_allowed_twin() -> None:
    """Each test sees something pass that differs from the attack by the attack alone."""
    passing = {
        "allowed",
        "accepted",
        "narrower",
        "limit_accepted",
        "delegate",
        "enrol",
        "revoke",
        "check",
        "issue",
        "explain",
    }
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.name == Path(__file__).name:
            continue
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                called = {
                    call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                    for call in ast.walk(node)
                    if isinstance(call, ast.Call)
                }
                assert called & passing or ".allowed" in ast.unparse(node), node.name
