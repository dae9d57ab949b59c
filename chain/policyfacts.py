"""A question to a policy in plain words, without signed tokens: for cases, and for comparing two policies.

The law of this file: what is stated is asked exactly as a verified chain would ask it, through the same policy; what is
not stated has a harmless default; an unknown member is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from chain.base64url import b64encode
from chain.catalog import Catalogue, Sensitivity, Tool
from chain.control import Party, Risk, Standing
from chain.delegation import Facts
from chain.errors import PolicyError
from chain.grant import ActionClass, Grant, rank
from chain.outcome import Asked, Judged, Outcome
from chain.policy import Policy
from chain.policyview import Answer
from chain.principal import Principal

DOMAIN = "example.test"
"""The trust domain of everybody whose own is not stated."""

MAX_DEPTH = 64
"""As deep as a chain ever is."""


def _exact(value: object) -> object:
    if isinstance(value, float):
        raise ValueError("money is a whole number or a decimal in quotes, never a float")  # noqa: TRY004 - pydantic's
    return value


Money: TypeAlias = Annotated[Decimal, BeforeValidator(_exact)]


class _Stated(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ToolFacts(_Stated):
    """A tool with facts of its own, whatever the catalogue says."""

    name: str = "tool"
    action_class: ActionClass = Field(default="read", alias="class")
    sensitivity: Sensitivity = "low"
    target: str = ""
    classification: str | None = None

    @property
    def known(self) -> Tool:
        """As a catalogue would list it."""
        return Tool(
            action_class=self.action_class,
            sensitivity=self.sensitivity,
            target=self.target or None,
            classification=self.classification,
        )


ToolName: TypeAlias = str | ToolFacts
"""By name, as the catalogue lists it, or with facts of its own."""


class Person(_Stated):
    """Somebody, by enrolment and by signals; of kind `unknown` where nobody enrolled the key."""

    id: str = ""
    kind: Literal["human", "agent", "service", "unknown"] = "agent"
    trust_domain: str = ""
    owner: str = "team"
    risk: Risk = "low"
    assurance: str = ""
    labels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _enrolled(self) -> Self:
        self.party("somebody")
        return self

    def party(self, name: str) -> Party:
        """Return who this is; `name` is the last part of an id that is not stated."""
        standing = Standing(self.risk, self.assurance, self.labels)
        if self.kind == "unknown":
            return Party(self.id.removeprefix("key:") or name, None, standing)
        known = Principal(
            id=self.id or f"spiffe://{self.trust_domain or DOMAIN}/{name}", kind=self.kind, owner=self.owner
        )
        if self.trust_domain not in ("", known.trust_domain):
            raise ValueError("the id is of another trust domain")
        return Party(name, known, standing)


class Holder(Person):
    """A holder of one hop, and what that hop gives; None takes the tool that is asked about, or no restriction."""

    tools: tuple[ToolName, ...] | None = None
    classes: tuple[ActionClass, ...] | None = None
    classification: str | None = None
    purposes: tuple[str, ...] = ()
    lifetime: int = Field(default=600, gt=0, le=2**53 - 1)


class Stated(_Stated):
    """A question, and every fact that a policy can see of it.

    Attributes:
        question: `call`: may the last holder make this call; `delegate`: may the last hop be made; `approve`: does
            the approver's word count for what the last holder asks.
        tool: that is called.
        holders: of the hops, root first; those that `depth` needs beyond them come behind the first.
        depth: of the last hop; None takes as many hops as there are holders.
        issuer, subject, task, owner: of the root.
        intent: of the root, and as the call declares it; `root_intent` only where the two differ.
        purpose, labels, audience: as the call states them.
        classification: of the data; None takes the tool's, and the highest label where that has none.
        age: seconds since the root was signed.
        amount, currency: money that moves; None where none does.
        approvals: people who approved, by id or how many.
        approver, emergency: of `approve`.
    """

    question: Literal["call", "delegate", "approve"] = "call"
    tool: ToolName = ToolFacts()
    holders: Annotated[tuple[Holder, ...], Field(max_length=MAX_DEPTH + 1)] = ()
    depth: int | None = Field(default=None, ge=0, le=MAX_DEPTH)
    issuer: str = f"https://issuer.{DOMAIN}"
    subject: str = ""
    task: str = ""
    owner: str = ""
    intent: str = ""
    root_intent: str | None = None
    purpose: str = ""
    labels: tuple[str, ...] = ()
    audience: str = ""
    classification: str | None = None
    age: int = 0
    amount: Money | None = None
    currency: str = ""
    approvals: Annotated[int, Field(ge=0, le=MAX_DEPTH)] | tuple[str, ...] = 0
    approver: Person = Person(kind="human")
    emergency: bool = False

    @model_validator(mode="after")
    def _deep_enough(self) -> Self:
        if self.depth is not None and len(self.holders) > self.depth + 1:
            raise ValueError(f"{len(self.holders)} holders are more than depth {self.depth} has")
        return self

    @cached_property
    def path(self) -> tuple[Holder, ...]:
        """The holders, with those that were not stated."""
        stated = self.holders or (Holder(),)
        missing = 0 if self.depth is None else self.depth + 1 - len(stated)
        first = stated[0].party("first").principal
        between = Holder(trust_domain="" if first is None else first.trust_domain)
        return (*stated[:1], *[between] * missing, *stated[1:])

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who approved."""
        if isinstance(self.approvals, int):
            return tuple(f"spiffe://{DOMAIN}/human/{number}" for number in range(self.approvals))
        return tuple(dict.fromkeys(self.approvals))

    def words(self) -> dict[str, Any]:
        """Return what is stated, without defaults, as JSON values: what a case can be made from."""
        return {"question": self.question, **self.model_dump(mode="json", by_alias=True, exclude_defaults=True)}


def answer(outcome: Outcome, approved: int = 0) -> Answer:
    """Return what an outcome comes to once so many people approved."""
    if outcome.permitted:
        return Answer("permit", 0, outcome.rules)
    people = max((gate.threshold for gate in outcome.gates), default=0)
    if not people:
        why = f"{outcome.words}: {outcome.cause}" if outcome.cause else outcome.words
        return Answer("deny", 0, outcome.rules, why)
    if people <= approved:
        return Answer("permit", 0, outcome.rules)
    return Answer("approval", people, outcome.rules, "held back by " + ", ".join(f"`{rule}`" for rule in outcome.rules))


class _Hop(NamedTuple):
    digest: bytes
    id: str
    hop: int
    iat: int
    exp: int
    grant: Grant
    classes: frozenset[str] | None
    rank: int | None
    purposes: tuple[str, ...]


class _Chain(NamedTuple):
    issuer: str
    facts: Facts
    hops: tuple[_Hop, ...]

    @property
    def leaf(self) -> _Hop:
        return self.hops[-1]


def ask(policy: Policy, stated: Stated) -> Answer:
    """Ask a policy.

    Raises:
        PolicyError: a data label that is not in the order.
    """
    tools = {tool.name: tool.known for tool in _tools(stated) if isinstance(tool, ToolFacts)}
    asked = policy.under(Catalogue(root={**policy.catalogue.root, **tools}) if tools else policy.catalogue)
    path = stated.path
    parties = tuple(holder.party(f"agent/{place}") for place, holder in enumerate(path))
    if stated.question == "approve":
        return answer(asked.approver(_judged(stated, parties)))
    chain = _chain(stated, path, asked.labels)
    approvers = stated.approvers
    if stated.question == "delegate":
        return answer(asked.hop(chain, parties, approvers), len(approvers))
    return answer(asked.call(chain, parties, _asked(stated, asked)), len(approvers))


def _tools(stated: Stated) -> Iterator[ToolName]:
    yield stated.tool
    for holder in stated.path:
        yield from holder.tools or ()


def _name(tool: ToolName) -> str:
    return tool if isinstance(tool, str) else tool.name


def _chain(stated: Stated, path: Sequence[Holder], labels: tuple[str, ...]) -> _Chain:
    intent = stated.intent if stated.root_intent is None else stated.root_intent
    facts = Facts(stated.subject, stated.owner, stated.task, intent)
    return _Chain(stated.issuer, facts, tuple(_hop(stated, place, one, labels) for place, one in enumerate(path)))


def _hop(stated: Stated, place: int, holder: Holder, labels: tuple[str, ...]) -> _Hop:
    tools = (stated.tool,) if holder.tools is None else holder.tools
    digest = place.to_bytes(32, "big")
    return _Hop(
        digest=digest,
        id=b64encode(digest),
        hop=place,
        iat=0,
        exp=holder.lifetime,
        grant=Grant(tools={_name(tool): {} for tool in tools}),
        classes=None if holder.classes is None else frozenset(holder.classes),
        rank=None if holder.classification is None else _rank(holder.classification, labels),
        purposes=holder.purposes,
    )


def _rank(label: str, labels: tuple[str, ...]) -> int:
    place = rank(label, labels)
    if place is None:
        raise PolicyError(f"`{label}` is no data label; they are {', '.join(labels)}")
    return place


def _asked(stated: Stated, policy: Policy) -> Asked:
    label = stated.classification or policy.catalogue.tool(_name(stated.tool)).classification
    return Asked(
        tool=_name(stated.tool),
        purpose=stated.purpose,
        intent=stated.intent,
        audience=stated.audience,
        labels=stated.labels,
        classification=policy.labels[-1] if label is None else policy.labels[_rank(label, policy.labels)],
        age=stated.age,
        amount=stated.amount,
        approvers=stated.approvers,
        currency=stated.currency,
    )


def _judged(stated: Stated, parties: tuple[Party, ...]) -> Judged:
    return Judged(
        approver=stated.approver.party("human/approver"),
        requester=parties[-1],
        ancestors=parties,
        tool=_name(stated.tool),
        subject=stated.subject,
        task=stated.task,
        purpose=stated.purpose,
        amount=stated.amount,
        emergency=stated.emergency,
        currency=stated.currency,
    )
