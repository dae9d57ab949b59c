"""What a delegation gives: tools with their constraints, and limits on all of them. The partial order.

The law of this file: one attenuation rule, written once. `Grant.excess(parent)` lists everything that a child
asks beyond its parent; nothing listed means contained (I4). Delegate calls it to refuse early, Check calls it
again and trusts nobody. An absent limit is no restriction, so a child restates every limit of its parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from chain.constraint import AnyConstraint
from chain.containment import MAX_DEPTH, Containment, Profile, UndecidedError, brief, depth
from chain.errors import clip
from chain.reason import Reason

MAX_TOOLS = 256
"""Tools in one grant (TOKEN.md s4)."""

MAX_ARGUMENTS = 64
"""Constraints in one tool (TOKEN.md s4)."""

MAX_NAME = 256
"""Characters of a tool's or an argument's name: a URI fits, and so does a refusal that names both."""

RESERVED_PREFIX = "chain:"
"""Tools of the authority itself (`chain:delegate`, `chain:revoke`); no grant may name one (TOKEN.md s3)."""

LABELS = ("public", "internal", "confidential", "restricted")
"""Data labels from lowest to highest, unless the configuration orders others."""

ActionClass: TypeAlias = Literal["read", "write", "act"]
"""What kind of action a tool is; `act` implies neither of the others."""

_NAME = "^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*\\Z"
Purpose: TypeAlias = Annotated[str, Meta(pattern=_NAME, max_length=256)]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Decimals: TypeAlias = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,17})([.][0-9]{1,9})?\Z")]
Currency: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Z]{3,8}\Z")]


class _Wire(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything in an entry: unknown members are refused (TOKEN.md s2)."""


class Amount(_Wire, frozen=True):
    """A cumulative ceiling on money.

    Attributes:
        value: unsigned decimal string in units of `currency`; never a float.
        currency: ISO 4217 code.
        argument: the tool argument that holds the amount of one call.
    """

    value: Decimals
    currency: Currency
    argument: Text


class Budget(_Wire, frozen=True):
    """What a delegation and everything beneath it may use up together.

    Attributes:
        calls: how many allowed calls.
        amount: how much money.
    """

    calls: Count | UnsetType = UNSET
    amount: Amount | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.calls is UNSET and self.amount is UNSET:
            raise ValueError("a budget limits calls, an amount or both")


class When(_Wire, frozen=True):
    """Which calls a gate holds back: those of one tool, or those of one action class."""

    tool: Text | UnsetType = UNSET
    action_class: ActionClass | UnsetType = msgspec.field(default=UNSET, name="class")

    def __post_init__(self) -> None:
        if (self.tool is UNSET) is (self.action_class is UNSET):
            raise ValueError("a gate names a tool or a class")


class Gate(_Wire, frozen=True):
    """Human approval needed: `threshold` distinct people out of `approvers`."""

    when: When
    threshold: Annotated[int, Meta(ge=1, le=64)]
    approvers: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)]

    def __post_init__(self) -> None:
        if self.threshold > len(set(self.approvers)):
            raise ValueError("a gate needs at least as many approvers as its threshold")


class Limits(_Wire, frozen=True):
    """Restrictions on every tool of a grant; each absent one restricts nothing (TOKEN.md s2)."""

    classes: Annotated[tuple[ActionClass, ...], Meta(max_length=3)] | UnsetType = UNSET
    classification: Text | UnsetType = UNSET
    purposes: Annotated[tuple[Purpose, ...], Meta(max_length=64)] | UnsetType = UNSET
    budget: Budget | UnsetType = UNSET
    approval: Annotated[tuple[Gate, ...], Meta(min_length=1, max_length=64)] | UnsetType = UNSET


NO_LIMITS = Limits()


class Excess(NamedTuple):
    """One dimension in which a child asks for more than its parent grants.

    Attributes:
        reason: the stable code.
        field: where, as a path for machines, e.g. ``tools.bank.transfer.amount``.
        subject: where, in words, e.g. ``bank.transfer argument amount`` with backticks.
        parent: what is granted there, as text.
        child: what is asked there, as text.
    """

    reason: Reason
    field: str
    subject: str
    parent: str
    child: str


Capabilities: TypeAlias = Mapping[str, Mapping[str, AnyConstraint]]


class Grant(_Wire, frozen=True):
    """All that one delegation gives.

    Attributes:
        tools: tool name -> argument name -> constraint. An empty map of arguments leaves them open; any
            constraint closes it: an unnamed argument is denied, and so is a missing one.
        limits: restrictions on all of them.
    """

    tools: dict[str, dict[str, AnyConstraint]]
    limits: Limits = NO_LIMITS

    def fault(self) -> tuple[Reason, str] | None:
        """Return what is wrong with this grant whoever its parent is, or None."""
        if len(self.tools) > MAX_TOOLS:
            return Reason.GRANT_TOO_LARGE, f"{len(self.tools)} tools, more than {MAX_TOOLS}"
        for tool, arguments in self.tools.items():
            if not 0 < len(tool) <= MAX_NAME or tool.startswith(RESERVED_PREFIX):
                return Reason.CLAIM_INVALID, f"`{clip(tool, 80)}` is not a tool that can be granted"
            if any(len(name) > MAX_NAME for name in arguments):
                return Reason.CLAIM_INVALID, f"`{tool}` has an argument with a name above {MAX_NAME} characters"
            if len(arguments) > MAX_ARGUMENTS:
                return Reason.GRANT_TOO_LARGE, f"`{tool}` has {len(arguments)} constraints, more than {MAX_ARGUMENTS}"
            for name, rule in arguments.items():
                if rule.composite and depth(rule) > MAX_DEPTH:
                    return (
                        Reason.CONSTRAINT_INVALID,
                        f"`{tool}` argument `{name}` nests deeper than {MAX_DEPTH}",
                    )
        return None

    def excess(
        self, parent: Grant, profile: Profile = Profile.SOUND, labels: tuple[str, ...] = LABELS
    ) -> Iterator[Excess]:
        """Yield everything that this grant asks beyond `parent`, tools first (I4).

        Args:
            parent: the grant one hop up.
            profile: which pairs of constraints count as narrower.
            labels: data labels from lowest to highest; one that is not listed is contained in nothing.
        """
        containment = Containment(profile)
        for tool, asked in self.tools.items():
            granted = parent.tools.get(tool)
            if granted is None:
                yield Excess(Reason.TOOL_ADDED, f"tools.{tool}", "tools", _names(parent.tools), f"`{tool}`")
            elif granted:  # an open parent contains every argument map
                yield from _argument_excess(tool, granted, asked, containment)
        if parent.limits != NO_LIMITS:  # an absent limit is no restriction
            for dimension in _DIMENSIONS:
                yield from dimension(parent.limits, self.limits, labels)

    def covers(self, child: Grant, profile: Profile = Profile.SOUND, labels: tuple[str, ...] = LABELS) -> bool:
        """Tell whether `child` asks for nothing beyond this grant."""
        return next(child.excess(self, profile, labels), None) is None


def _argument_excess(
    tool: str, granted: Mapping[str, AnyConstraint], asked: Mapping[str, AnyConstraint], containment: Containment
) -> list[Excess]:
    """Compare two argument maps: the same names exactly, each constraint contained (AAT-01 s4.5)."""
    faults = [
        (name, reason) for name, rule in granted.items() if (reason := _fault(rule, asked.get(name), containment))
    ]
    if len(asked) + sum(reason is Reason.ARGUMENT_DROPPED for _, reason in faults) > len(granted):
        faults += [(name, Reason.ARGUMENT_ADDED) for name in asked if name not in granted]
    return [
        Excess(
            reason,
            f"tools.{tool}.{name}",
            f"`{tool}` argument `{name}`",
            _brief(granted.get(name)),
            _brief(asked.get(name)),
        )
        for name, reason in faults
    ]


def _brief(rule: AnyConstraint | None) -> str:
    return "no such argument" if rule is None else brief(rule)


def _fault(granted: AnyConstraint, asked: AnyConstraint | None, containment: Containment) -> Reason | None:
    if asked is None:
        return Reason.ARGUMENT_DROPPED
    try:
        return None if containment.compare(granted, asked) else Reason.CONSTRAINT_WIDENED
    except UndecidedError:
        return Reason.CONTAINMENT_UNDECIDED


def within_purpose(purpose: str, granted: str) -> bool:
    """Tell whether a dotted name equals or falls under another (`data` does not cover `database`)."""
    return purpose == granted or purpose.startswith(granted + ".")


def _dropped(name: str, parent: object) -> Excess:
    return Excess(Reason.LIMIT_DROPPED, f"limits.{name}", f"limit `{name}`", str(parent), "no limit")


def _classes(parent: Limits, child: Limits, _labels: tuple[str, ...]) -> Iterator[Excess]:
    if isinstance(parent.classes, UnsetType):
        return
    if isinstance(child.classes, UnsetType):
        yield _dropped("classes", _names(parent.classes))
    elif not set(child.classes) <= set(parent.classes):
        yield Excess(Reason.CLASS_ADDED, "limits.classes", "classes", _names(parent.classes), _names(child.classes))


def _classification(parent: Limits, child: Limits, labels: tuple[str, ...]) -> Iterator[Excess]:
    if isinstance(parent.classification, UnsetType):
        return
    if isinstance(child.classification, UnsetType):
        yield _dropped("classification", f"`{parent.classification}`")
        return
    granted, asked = rank(parent.classification, labels), rank(child.classification, labels)
    if granted is None or asked is None or asked > granted:
        yield Excess(
            Reason.CLASSIFICATION_RAISED,
            "limits.classification",
            "classification",
            f"`{parent.classification}`",
            f"`{child.classification}`",
        )


def rank(label: str, labels: tuple[str, ...]) -> int | None:
    """Return the place of a data label in the order, or None where it is not in it."""
    return labels.index(label) if label in labels else None


def _purposes(parent: Limits, child: Limits, _labels: tuple[str, ...]) -> Iterator[Excess]:
    if isinstance(parent.purposes, UnsetType):
        return
    if isinstance(child.purposes, UnsetType):
        yield _dropped("purposes", _names(parent.purposes))
        return
    for asked in child.purposes:
        if not any(within_purpose(asked, granted) for granted in parent.purposes):
            yield Excess(Reason.PURPOSE_WIDENED, "limits.purposes", "purposes", _names(parent.purposes), f"`{asked}`")


def _budget(parent: Limits, child: Limits, _labels: tuple[str, ...]) -> Iterator[Excess]:
    granted, asked = parent.budget, child.budget
    if isinstance(granted, UnsetType):
        return
    if isinstance(asked, UnsetType):
        yield _dropped("budget", msgspec.json.encode(granted).decode())
        return
    if not isinstance(granted.calls, UnsetType):
        if isinstance(asked.calls, UnsetType):
            yield _dropped("budget.calls", granted.calls)
        elif asked.calls > granted.calls:
            yield Excess(
                Reason.BUDGET_RAISED, "limits.budget.calls", "budget of calls", str(granted.calls), str(asked.calls)
            )
    if not isinstance(granted.amount, UnsetType):
        text = f"{granted.amount.value} {granted.amount.currency} by `{granted.amount.argument}`"
        if isinstance(asked.amount, UnsetType):
            yield _dropped("budget.amount", text)
        elif not _amount_within(granted.amount, asked.amount):
            theirs = f"{asked.amount.value} {asked.amount.currency} by `{asked.amount.argument}`"
            yield Excess(Reason.BUDGET_RAISED, "limits.budget.amount", "budget of money", text, theirs)


def _amount_within(granted: Amount, asked: Amount) -> bool:
    same = (asked.currency, asked.argument) == (granted.currency, granted.argument)
    return same and Decimal(asked.value) <= Decimal(granted.value)


def _approval(parent: Limits, child: Limits, _labels: tuple[str, ...]) -> Iterator[Excess]:
    if isinstance(parent.approval, UnsetType):
        return
    theirs = () if isinstance(child.approval, UnsetType) else child.approval
    for gate in parent.approval:
        kept = (
            other.when == gate.when
            and other.threshold >= gate.threshold
            and set(other.approvers) <= set(gate.approvers)
            for other in theirs
        )
        if not any(kept):
            text = msgspec.json.encode(gate).decode()
            yield Excess(Reason.APPROVAL_WEAKENED, "limits.approval", "approval gates", text, "no gate as strict")


_DIMENSIONS = (_classes, _classification, _purposes, _budget, _approval)


def _names(names: Mapping[str, object] | tuple[str, ...]) -> str:
    listed = [f"`{name}`" for name in sorted(names)]
    more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    return ", ".join(listed[:8]) + more or "nothing"
