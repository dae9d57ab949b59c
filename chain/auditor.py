"""The questions of an auditor, each answered from the ledger as of an instant.

The law of this file: pure. An answer is rows, each with the record that shows it; what no record shows is no row. That
the records are what was written is another question (`chain.intact`), and is asked beside these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from chain.errors import InvalidRequestError, NotFoundError
from chain.given import Entry, Given
from chain.grant import Excess, Grant
from chain.history import History
from chain.principal import covers
from chain.reason import Reason

Row: TypeAlias = dict[str, Any]
"""Names and values; `record` is the revision that shows it."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which calls a question is about; what is absent does not restrict.

    Attributes:
        decision: id of one decision.
        agent: principal's id, at its end `/*` or `/**`, or a key's thumbprint: who made the call.
        tool, task, target, sub: of the call.
        effect: ALLOW, DENY or APPROVAL_REQUIRED.
        arguments: canonical bytes of the arguments (`chain.jcs`): the ledger holds their digest, so whoever has them
            can prove that they were these.
        since: seconds; nothing before.
        trace: id of the trace that the call was a part of.
    """

    decision: str | None = None
    agent: str | None = None
    tool: str | None = None
    task: str | None = None
    target: str | None = None
    sub: str | None = None
    effect: str | None = None
    arguments: str | None = None
    since: float | None = None
    trace: str | None = None

    def calls(self, history: History) -> Iterator[Entry]:
        """Yield the decisions that it names, in order."""
        wanted = {"id": self.decision, "tool": self.tool, "txn": self.task, "target": self.target, "sub": self.sub}
        wanted |= {"effect": self.effect, "arguments": self.arguments}
        asked = {name: value for name, value in wanted.items() if value is not None}
        for entry in history.decided:
            body = entry.body
            if self.since is not None and entry.seconds < self.since:
                continue
            if self.trace is not None and body.get("trace", "")[3:35] != self.trace:
                continue
            if all(body.get(name) == value for name, value in asked.items()) and self._made(history, body):
                yield entry

    def _made(self, history: History, body: Mapping[str, Any]) -> bool:
        return self.agent is None or _did(history, body, self.agent)


def is_agent(history: History, holder: str, agent: str) -> bool:
    """Tell whether a holder is the one that is meant by a thumbprint, an id or a pattern of ids."""
    if holder == agent:
        return True
    return _meant(history.called(holder), agent)


def _meant(called: str, agent: str) -> bool:
    return called == agent or (agent.endswith("*") and called.startswith("spiffe://") and covers(agent, called))


def _did(history: History, body: Mapping[str, Any], agent: str) -> bool:
    """Tell whether a record is of an agent: as its key or id is known now, as it was called then, or is bound to."""
    leaf = history.given.get(body.get("leaf", ""))
    names = (str(body.get("holder", "")),) if leaf is None else leaf.names
    return _meant(str(body.get("principal", "")), agent) or any(is_agent(history, name, agent) for name in names)


def who(history: History, which: Which) -> list[Row]:
    """Who did it: principal and key, at which enforcement point, with what outcome."""
    return [
        {
            "record": entry.revision,
            "time": entry.seconds,
            "principal": entry.body.get("principal") or history.called(entry.body.get("holder", "")),
            "key": entry.body.get("holder", ""),
            "did": entry.body["tool"],
            "on": entry.body.get("target", ""),
            "arguments": entry.body["arguments"],
            "effect": entry.body["effect"],
            "at": entry.body["caller"],
            "decision": entry.body["id"],
        }
        for entry in which.calls(history)
    ]


def for_whom(history: History, which: Which) -> list[Row]:
    """On whose behalf: the principal at the root, who answers for it, the task, and who issued it."""
    rows: list[Row] = []
    for entry in which.calls(history):
        leaf = history.given.get(entry.body.get("leaf", ""))
        root = None if leaf is None else leaf.chain[0]
        facts: Mapping[str, Any] = {} if root is None else root.facts
        rows.append(
            {
                "record": entry.revision,
                "time": entry.seconds,
                "for": facts.get("sub") or entry.body.get("sub", ""),
                "owner": facts.get("owner", ""),
                "task": facts.get("txn") or entry.body.get("txn", ""),
                "issuer": entry.body.get("issuer", ""),
                "root": 0 if root is None else root.entry.revision,
                "did": entry.body["tool"],
                "effect": entry.body["effect"],
                "decision": entry.body["id"],
            }
        )
    return rows


def path(history: History, name: str) -> list[Row]:
    """Through which hops, and what each of them narrowed.

    Args:
        history: the ledger.
        name: of a decision or of a delegation; its beginning is enough, if it is the only one.

    Raises:
        NotFoundError: there is none.
        InvalidRequestError: there are several.
    """
    return [hop_row(history, hop) for hop in named(history, name).chain]


def hop_row(history: History, hop: Given) -> Row:
    """Return what is told of one hop."""
    return {
        "record": hop.entry.revision,
        "hop": hop.hop,
        "holder": history.called(hop.holder),
        "key": hop.holder,
        "from": history.called(hop.above.holder) if hop.above is not None else hop.issuer,
        "narrowed": narrowed(hop),
        "until": hop.exp,
        "id": hop.id,
    }


def narrowed(hop: Given, tool: str | None = None) -> list[str]:
    """Return what a hop gives less than the one above it, in words.

    It is the one attenuation rule, asked backwards: all that the parent has beyond its child (`Grant.excess`).

    Args:
        hop: which.
        tool: only what matters to this one: its arguments, and the limits on all.
    """
    if hop.above is None or hop.grant is None or hop.above.grant is None:
        return []
    lost = hop.above.grant.excess(hop.grant)
    words = [
        _lost(one)
        for one in lost
        if tool is None or one.field.startswith("limits.") or one.subject.startswith(f"`{tool}` argument ")
    ]
    if hop.exp < hop.above.exp:
        words.append(f"ends {hop.above.exp - hop.exp} s earlier")
    return words


def _lost(one: Excess) -> str:
    if one.reason is Reason.TOOL_ADDED:
        return f"without {one.child}"
    before = "any" if one.reason is Reason.ARGUMENT_DROPPED else one.child
    return f"{one.subject}: {before} → {one.parent}"


def rule(history: History, which: Which) -> list[Row]:
    """Under which version of the policy, by which rules, and for what reason."""
    rows: list[Row] = []
    for entry in which.calls(history):
        body, policy = entry.body, history.policy_at(entry.revision)
        rows.append(
            {
                "record": entry.revision,
                "time": entry.seconds,
                "did": body["tool"],
                "effect": body["effect"],
                "reason": body["reason"],
                "hop": body.get("hop"),
                "rules": list(body.get("rules", ())),
                "policy": body.get("policy", ""),
                "activated": 0 if policy is None else policy.revision,
                "findings": [finding[2] for finding in body.get("findings", ())],
                "posture": list(body.get("posture", ())),
                "decision": body["id"],
            }
        )
    return rows


def approvals(history: History, which: Which) -> list[Row]:
    """Who approved exactly what, when, and where it was used: a row for each word and each use."""
    rows: list[Row] = []
    calls = {entry.body["approval"]: entry for entry in history.decided if "approval" in entry.body}
    for asked in history.asked.values():
        body = asked.entry.body
        if which.tool not in (None, body["tool"]) or which.task not in (None, body.get("task", "")):
            continue
        if which.decision is not None and calls.get(body["id"], asked.entry).body["id"] != which.decision:
            continue
        what = {
            "request": body["id"],
            "did": body["tool"],
            "amount": body.get("amount", ""),
            "binding": body["binding"],
        }
        used = calls.get(body["id"])
        decision = "" if used is None else used.body["id"]
        rows += [_word(entry, entry.body["verdict"], what) for entry in asked.words]
        rows += [_word(entry, "used", what | {"decision": decision}) for entry in asked.uses]
    return [row for row in rows if which.since is None or row["time"] >= which.since]


def _word(entry: Entry, said: str, what: Row) -> Row:
    by = {"who": entry.body.get("approver", ""), "key": entry.body.get("key", ""), "said": said}
    return {"record": entry.revision, "time": entry.seconds, **by, **what}


def could(
    history: History, agent: str, now: float, tool: str | None = None, live: Iterable[Given] | None = None
) -> list[Row]:
    """What an agent could still do: every tool of every delegation that it holds and that stands.

    Args:
        history: the ledger.
        agent: as in `Which`.
        now: seconds; at which instant.
        tool: only this one.
        live: what stands then, where somebody found that out already; or that part of it which the agent holds.

    Raises:
        NotFoundError: nobody is or was called so: that is a slip, and no comfort.
    """
    _require_known(history, agent)
    rows: list[Row] = []
    for one in history.live(now).values() if live is None else live:
        if not any(is_agent(history, name, agent) for name in one.names):
            continue
        grant = one.grant or Grant(tools={})
        for name, arguments in grant.tools.items():
            if tool in (None, name):
                rows.append(
                    {
                        "record": one.entry.revision,
                        "tool": name,
                        "arguments": _texts(arguments),
                        "limits": one.entry.body.get("grant", {}).get("limits", {}),
                        "until": min(hop.exp for hop in one.chain),
                        "task": one.task,
                        "for": one.sub,
                        "hop": one.hop,
                        "id": one.id,
                    }
                )
    return rows


def _require_known(history: History, agent: str) -> None:
    names = {*history.enrolled, *(name for one in history.given.values() for name in one.names)}
    if not any(is_agent(history, name, agent) for name in names):
        raise NotFoundError(f"no agent `{agent[:256]}`")


def attempts(history: History, which: Which) -> list[Row]:
    """What was tried and refused: calls, and delegations or other changes that asked for too much."""
    rows: list[Row] = []
    for entry in which.calls(history):
        if entry.body["effect"] != "ALLOW":
            first = next(iter(entry.body.get("findings", ())), ["", None, ""])
            rows.append(_attempt(history, entry, entry.body["tool"], str(first[2])))
    wanted = (which.decision, which.tool, which.task, which.target, which.sub, which.effect, which.arguments)
    if all(one is None for one in (*wanted, which.trace)):
        for entry in history.refused:
            body = entry.body
            before = which.since is not None and entry.seconds < which.since
            if not before and (which.agent is None or _did(history, body, which.agent)):
                detail = str(body.get("detail", ""))
                if "field" in body:
                    detail = f"{body['field']}: asked {body['asked']}, granted {body['granted']}"
                rows.append(_attempt(history, entry, body["method"], detail))
    return sorted(rows, key=lambda row: int(row["record"]))


def _attempt(history: History, entry: Entry, what: str, detail: str) -> Row:
    body = entry.body
    return {
        "record": entry.revision,
        "time": entry.seconds,
        "principal": history.called(body.get("holder", "")),
        "key": body.get("holder", ""),
        "tried": what,
        "reason": body["reason"],
        "hop": body.get("hop"),
        "detail": detail,
    }


def named(history: History, name: str) -> Given:
    """Return the delegation of that id, or under which that decision was made.

    Raises:
        NotFoundError: there is none.
        InvalidRequestError: several begin like this.
    """
    one = history.given.get(name)
    if one is not None:
        return one
    for entry in history.decided:
        if entry.body["id"] == name:
            leaf = history.given.get(entry.body.get("leaf", ""))
            if leaf is None:
                raise NotFoundError("that call presented no authentic chain")
            return leaf
    found = [one for one in history.given.values() if one.id.startswith(name)]
    if len(found) > 1:
        raise InvalidRequestError(f"{len(found)} delegations begin with `{name[:64]}`")
    if not found or len(name) < 6:
        raise NotFoundError(f"no decision and no delegation `{name[:64]}`")
    return found[0]


def _texts(arguments: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(constraint) for name, constraint in arguments.items()}
