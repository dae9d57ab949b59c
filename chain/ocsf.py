"""A record as an OCSF event: API Activity (class 6003) of schema 1.5.0, with the profile `security_control`.

The law of this file: what OCSF has a name for stands under it; the record itself, as far as it is told, stands whole in
`unmapped`. A refusal that was not enforced (shadow) is observed, and never told as blocked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain import outward, tracecontext
from chain.given import Entry
from chain.reason import Reason

VERSION = "1.5.0"
CLASS = 6003
CATEGORY = 6

_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99
_INFORMATIONAL, _MEDIUM, _HIGH = 1, 3, 4
_SUCCESS, _FAILURE = 1, 2
_ALLOWED, _DENIED, _OBSERVED = 1, 2, 3
_PASSED, _BLOCKED, _DELAYED, _DETECTED = 1, 2, 14, 15

_CLASSES = {"read": (_READ, "Read"), "write": (_UPDATE, "Update")}
_KINDS = {
    "issued": (_CREATE, "Create", "Issue"),
    "delegated": (_CREATE, "Create", "Delegate"),
    "admitted": (_CREATE, "Create", "Delegate"),
    "enrolled": (_CREATE, "Create", "Enrol"),
    "approval_requested": (_CREATE, "Create", "RequestApproval"),
    "approval_resolved": (_UPDATE, "Update", "ResolveApproval"),
    "approval_consumed": (_UPDATE, "Update", "UseApproval"),
    "policy_activated": (_UPDATE, "Update", "ActivatePolicy"),
    "suspended": (_UPDATE, "Update", "Suspend"),
    "lifted": (_UPDATE, "Update", "Resume"),
    "signalled": (_UPDATE, "Update", "ReportSignal"),
    "key_changed": (_UPDATE, "Update", "ChangeKey"),
    "ledger_accepted": (_UPDATE, "Update", "AcceptLedger"),
    "revoked": (_DELETE, "Delete", "Revoke"),
}
"""Kind -> activity, its name, operation."""

_FORGED = frozenset(
    reason.value
    for reason in Reason
    if Reason.CHAIN_EMPTY.number <= reason.number < Reason.NOT_YET_VALID.number
    or Reason.PROOF_MISSING.number <= reason.number <= Reason.REPLAY.number
)
"""Refusals of what is not what it claims to be, or asks for more than its parent has."""


def event(entry: Entry, source: str, version: str) -> dict[str, Any]:
    """Return the event of a record.

    Args:
        entry: the record.
        source: names the ledger.
        version: of this software.
    """
    told = entry.body
    activity, name, operation = _activity(entry)
    who = outward.principal(entry)
    made: dict[str, Any] = {
        "class_uid": CLASS,
        "class_name": "API Activity",
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "activity_id": activity,
        "activity_name": name,
        "type_uid": CLASS * 100 + activity,
        "type_name": f"API Activity: {name}",
        "time": entry.time,
        "message": f"{entry.kind} {outward.subject(entry)}".strip(),
        "metadata": {
            "version": VERSION,
            "profiles": ["security_control"],
            "product": {"name": "Chain", "vendor_name": "Chain", "version": version, "uid": source},
            "uid": str(entry.revision),
            "sequence": entry.revision,
            "log_name": "ledger",
            "event_code": entry.kind,
            "original_time": outward.stamp(entry),
        },
        "actor": _actor(told, who, source),
        "api": {"operation": operation, "service": {"name": str(told.get("target") or source)}},
        "src_endpoint": {"uid": str(told.get("holder") or source), "svc_name": str(told.get("caller") or source)},
        "unmapped": {"record": outward.body(entry)},
    }
    if (trace := tracecontext.parse(str(told.get("trace", "")))) is not None:
        made["metadata"]["correlation_uid"] = trace.id
    if outward.subject(entry):
        made["api"]["request"] = {"uid": outward.subject(entry)}
    if entry.kind == "decided":
        made["resources"] = [{"name": str(told["tool"])}]
    if told.get("policy"):
        made["policy"] = {"uid": str(told["policy"]), "name": "chain policy", "is_applied": told.get("enforced", True)}
    return made | _outcome(entry)


def _activity(entry: Entry) -> tuple[int, str, str]:
    if entry.kind == "decided":
        return (*_CLASSES.get(entry.body.get("class", ""), (_OTHER, "Act")), str(entry.body["tool"]))
    if entry.kind == "refused":
        return _OTHER, "Refused", str(entry.body["method"])
    return _KINDS.get(entry.kind, (_OTHER, "Other", entry.kind))


def _actor(told: Mapping[str, Any], who: str, source: str) -> dict[str, Any]:
    """Say who acted: a principal or key, within a task, on behalf of somebody."""
    actor: dict[str, Any] = {"user": {"uid": who}} if who else {"app_uid": source}
    if told.get("holder"):
        actor.setdefault("user", {})["credential_uid"] = str(told["holder"])
    if told.get("txn"):
        actor["session"] = {"uid": str(told["txn"])}
    if told.get("sub"):
        actor["invoked_by"] = str(told["sub"])
    return actor


def _outcome(entry: Entry) -> dict[str, Any]:
    told = entry.body
    reason = str(told.get("reason", ""))
    if (entry.kind == "decided" and told["effect"] == "ALLOW") or entry.kind not in ("decided", "refused"):
        return {
            "severity_id": _INFORMATIONAL,
            "severity": "Informational",
            "status_id": _SUCCESS,
            "status": "Success",
            "action_id": _ALLOWED,
            "disposition_id": _PASSED,
        }
    severity, called = (_HIGH, "High") if reason in _FORGED else (_MEDIUM, "Medium")
    first = next(iter(told.get("findings", ())), ("", None, told.get("detail", "")))
    action, disposition = _DENIED, _DELAYED if told.get("effect") == "APPROVAL_REQUIRED" else _BLOCKED
    if told.get("enforced") is False:
        action, disposition = _OBSERVED, _DETECTED
    return {
        "severity_id": severity,
        "severity": called,
        "status_id": _FAILURE,
        "status": "Failure",
        "status_code": reason,
        "status_detail": str(first[2]),
        "action_id": action,
        "disposition_id": disposition,
    }
