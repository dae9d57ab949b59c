"""Frameworks, item by item: what answers each of them here, and how far.

The law of this file: a table, with honest labels. Enforced: a call that offends is refused. Contained: what goes wrong
stays small. Evidence only: the record shows it, and people have to act. Out of scope: another product's work, said so.
`by` names what the label rests on (`chain.mechanism`); `also`, what makes it stronger and may be off.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Label(StrEnum):
    """How far an item is answered."""

    ENFORCED = "enforced"
    CONTAINED = "contained"
    EVIDENCE = "evidence only"
    OUTSIDE = "out of scope"


class Item(NamedTuple):
    """One item of a framework.

    Attributes:
        id: its number there.
        title: as it is called there, shortened.
        label: how far.
        by: names of mechanisms that the label rests on.
        also: names of those that add to it.
        limit: what is not done here.
    """

    id: str
    title: str
    label: Label
    by: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    limit: str = ""


class Framework(NamedTuple):
    """One framework.

    Attributes:
        name: for the command line.
        title: in full, with its version.
        items: in its order.
        limit: what is not done here, of all of them.
    """

    name: str
    title: str
    items: tuple[Item, ...]
    limit: str = ""


_E, _C, _V, _O = Label.ENFORCED, Label.CONTAINED, Label.EVIDENCE, Label.OUTSIDE

_SP_800_207 = (
    Item("T1", "All data sources and computing services are resources", _C,
         ("deny by default", "classes"), ("classification",),
         "A tool that no catalogue lists is the most sensitive there is; finding tools is the deployment's work."),
    Item("T2", "All communication is secured, wherever it comes from", _E,
         ("channel", "callers"), ("workload identity",),
         "What stays on one machine (loopback, sockets) is authenticated, and not encrypted."),
    Item("T3", "Access is granted per session", _E, ("every call", "short life", "possession"), ("budgets",)),
    Item("T4", "Access is determined by dynamic policy", _E,
         ("policy", "attenuation", "arguments"), ("signals", "approval")),
    Item("T5", "Integrity and posture of all assets are monitored", _V, ("record",), ("signals",),
         "Posture is what signals say of a principal; no device is measured here."),
    Item("T6", "Authentication and authorization are enforced before access", _E,
         ("every call", "whole chain", "possession", "callers"), ("running work",)),
    Item("T7", "As much as possible is collected, to improve", _E,
         ("record", "questions"), ("tamper evidence", "witness")),
)  # fmt: skip

_ASI = (
    Item("ASI01", "Agent Goal Hijack", _C, ("attenuation", "arguments", "purpose and intent", "policy"), ("approval",),
         "That an instruction was hijacked is not detected; what the agent can do then stays what it was granted."),
    Item("ASI02", "Tool Misuse and Exploitation", _E,
         ("arguments", "deny by default", "classes"), ("budgets", "policy"),
         "Arguments are enforced; a permitted call with permitted arguments for a bad end is only contained."),
    Item("ASI03", "Identity and Privilege Abuse", _E,
         ("attenuation", "whole chain", "possession", "callers", "enrolment"),
         ("workload identity",)),
    Item("ASI04", "Agentic Supply Chain Vulnerabilities", _V, ("record", "enrolment"), ("policy tests",),
         "Where a tool's or an agent's code comes from is not verified here."),
    Item("ASI05", "Unexpected Code Execution", _C, ("classes", "approval"), ("budgets",),
         "Running code is a tool like any other; there is no sandbox."),
    Item("ASI06", "Memory and Context Poisoning", _C, ("policy", "classification"), ("purpose and intent",),
         "An agent that says it read strangers' input is held back by rules; what it read is not inspected."),
    Item("ASI07", "Insecure Inter-Agent Communication", _E, ("possession", "audience", "channel", "whole chain"),
         ("workload identity", "trust domains")),
    Item("ASI08", "Cascading Failures", _E, ("revocation", "suspension", "attenuation", "budgets"),
         ("circuit breaker", "rate limits", "running work"),
         "A failure's authority is enforced to end; what it has done outside is not undone."),
    Item("ASI09", "Human-Agent Trust Exploitation", _C,
         ("approval", "fatigue bounds", "reviewed emergencies", "people apart"),
         (), "People are shown the very action, and may still be talked into it."),
    Item("ASI10", "Rogue Agents", _C,
         ("revocation", "suspension", "short life"), ("circuit breaker", "signals", "running work"),
         "What a rogue does within its grant until it is stopped is not prevented."),
)  # fmt: skip

_NHI = (
    Item("NHI1", "Improper Offboarding", _E, ("revocation", "short life", "enrolment"), ("signals",)),
    Item("NHI2", "Secret Leakage", _C, ("possession", "no leak", "short life"), ("workload identity", "key rotation"),
         "A private key that leaks elsewhere is revoked, not found."),
    Item("NHI3", "Vulnerable Third-Party NHI", _C, ("attenuation", "policy"), ("trust domains",),
         "A third party's security is not assessed; what it was handed is bounded."),
    Item("NHI4", "Insecure Authentication", _E,
         ("callers", "channel", "whole chain", "possession"), ("workload identity",)),
    Item("NHI5", "Overprivileged NHI", _E, ("attenuation", "accountable roots", "classes"), ("budgets",),
         "No hop exceeds its parent; that a root is no wider than its task needs, its issuer decides."),
    Item("NHI6", "Insecure Cloud Deployment Configurations", _O,
         limit="Of this server's own settings, unsafe ones do not start."),
    Item("NHI7", "Long-Lived Secrets", _E, ("short life",), ("workload identity", "key rotation"),
         "Of tokens; bearer secrets of callers live as long as their configuration says."),
    Item("NHI8", "Environment Isolation", _E, ("audience", "whole chain"), ("trust domains",)),
    Item("NHI9", "NHI Reuse", _V, ("enrolment", "record"), ("possession",),
         "One key is enrolled for one principal; that several programs share it shows in the record only."),
    Item("NHI10", "Human Use of NHI", _V, ("people apart", "record"), (),
         "People approve with keys of their own; that nobody borrows an agent's key is not proven."),
)  # fmt: skip

_MAESTRO = (
    Item("L1", "Foundation Models", _O, limit="Models are neither trained, tested nor filtered here."),
    Item("L2", "Data Operations", _C,
         ("classification",), ("policy",), "Labels are enforced as they are stated; data is not read."),
    Item("L3", "Agent Frameworks", _E, ("guarded tools", "every call"), ("running work",),
         "Of tools that are guarded; one that is called around the guard is not seen."),
    Item("L4", "Deployment and Infrastructure", _E, ("channel", "callers"), ("workload identity",),
         "Of this service; hosts and networks are the deployment's."),
    Item("L5", "Evaluation and Observability", _E, ("record", "questions"), ("tamper evidence", "witness")),
    Item("L6", "Security and Compliance", _E, ("policy", "attenuation", "record"), ("approval", "policy tests")),
    Item("L7", "Agent Ecosystem", _E, ("attenuation", "whole chain", "revocation"), ("trust domains",)),
)  # fmt: skip

_GOVERN = (
    Item("1.1", "Legal and regulatory requirements are understood", _O),
    Item("1.2", "Trustworthy AI is integrated into policies and practices", _V, ("policy",), ("policy tests",)),
    Item("1.3", "Risk tolerance determines the level of risk management", _V, ("short life", "approval"), ("signals",)),
    Item("1.4", "Controls are transparent and documented", _V, ("policy", "record"), ("questions",)),
    Item("1.5", "Monitoring and periodic review are planned", _V, ("record", "questions"), ("reviewed emergencies",)),
    Item("1.6", "AI systems are inventoried", _V, ("enrolment", "accountable roots")),
    Item("1.7", "Systems are decommissioned safely", _V, ("revocation", "short life"), ("running work",)),
    Item("2.1", "Roles and responsibilities are documented", _V, ("accountable roots", "enrolment", "callers")),
    Item("2.2", "Personnel and partners are trained", _O),
    Item("2.3", "Executive leadership takes responsibility", _O),
    Item("3.1", "Decisions are informed by a diverse team", _O),
    Item("3.2", "Roles for human-AI oversight are defined", _V,
         ("approval", "people apart"), ("reviewed emergencies",)),
    Item("4.1", "A critical-thinking, safety-first mindset is fostered", _O),
    Item("4.2", "Risks and impacts are documented", _V, ("questions", "record")),
    Item("4.3", "Testing, incident identification and sharing are enabled", _V,
         ("policy tests", "record"), ("tamper evidence", "witness")),
    Item("5.1", "External feedback is collected and integrated", _O),
    Item("5.2", "Adjudicated feedback is incorporated regularly", _O),
    Item("6.1", "Third-party risks are addressed by policy", _V, ("policy", "attenuation"), ("trust domains",)),
    Item("6.2", "Contingencies for third-party failures are in place", _V, ("revocation", "suspension"), ("signals",)),
)  # fmt: skip

FRAMEWORKS = {
    one.name: one
    for one in (
        Framework("sp-800-207", "NIST SP 800-207, tenets of zero trust (2020)", _SP_800_207),
        Framework("owasp-asi", "OWASP Top 10 for Agentic Applications 2026", _ASI),
        Framework("owasp-nhi", "OWASP Non-Human Identities Top 10 2025", _NHI),
        Framework("maestro", "CSA MAESTRO, layers of agentic AI (2025)", _MAESTRO),
        Framework(
            "ai-rmf", "NIST AI RMF 1.0, GOVERN", _GOVERN, "An engine supplies evidence; it satisfies no governance."
        ),
    )
}
"""Name -> framework."""
