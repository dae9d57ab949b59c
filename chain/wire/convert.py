"""Every message of `chain.v1` and its value: `…_to` makes the message, `…_from` takes it apart.

The law of this file: re-exports only, so that there is one place to import from.
"""

from chain.wire.approval import (
    approval_from,
    approval_to,
    found_from,
    found_to,
    resolve_from,
    resolve_to,
    search_from,
    search_to,
)
from chain.wire.asking import (
    LATEST,
    Asking,
    arguments_from,
    chain_from,
    chain_to,
    check_from,
    check_to,
    explain_from,
    explain_to,
)
from chain.wire.change import (
    Ending,
    issue_from,
    issue_to,
    issued_from,
    issued_to,
    key_from,
    revoke_from,
    revoke_to,
    revoked_from,
    revoked_to,
)
from chain.wire.decision import decision_from, decision_to
from chain.wire.delegation import delegation_from, delegation_to, digest_from, id_to, page_to, query_from, query_to
from chain.wire.enrolment import enrol_from, enrol_to, enrolled_from, enrolled_to, own_key_from, own_key_to
from chain.wire.explanation import explanation_from, explanation_to
from chain.wire.handing import Handing, delegate_from, delegate_to, delegated_from, delegated_to
from chain.wire.info import Bounds, ServerInfo, info_from, info_to

__all__ = [
    "LATEST",
    "Asking",
    "Bounds",
    "Ending",
    "Handing",
    "ServerInfo",
    "approval_from",
    "approval_to",
    "arguments_from",
    "chain_from",
    "chain_to",
    "check_from",
    "check_to",
    "decision_from",
    "decision_to",
    "delegate_from",
    "delegate_to",
    "delegated_from",
    "delegated_to",
    "delegation_from",
    "delegation_to",
    "digest_from",
    "enrol_from",
    "enrol_to",
    "enrolled_from",
    "enrolled_to",
    "explain_from",
    "explain_to",
    "explanation_from",
    "explanation_to",
    "found_from",
    "found_to",
    "id_to",
    "info_from",
    "info_to",
    "issue_from",
    "issue_to",
    "issued_from",
    "issued_to",
    "key_from",
    "own_key_from",
    "own_key_to",
    "page_to",
    "query_from",
    "query_to",
    "resolve_from",
    "resolve_to",
    "revoke_from",
    "revoke_to",
    "revoked_from",
    "revoked_to",
    "search_from",
    "search_to",
]
