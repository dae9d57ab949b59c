"""More than the parent has: tools, arguments, limits, audience."""

from __future__ import annotations

from typing import Any

import pytest

from chain.errors import ExcessError
from chain.reason import Reason
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    EXTENDED,
    FOLDERS,
    HOME,
    PEP,
    TOOLS,
    UP_TO_100,
    Json,
    World,
    child,
    entry,
    root,
    rule,
    seal,
    text,
)


def widened(world: World, reason: Reason, parent: Json, tools: Json, field: str) -> None:
    """A child with these tools is refused with the field named; under no grant of the parent does it slip in."""
    first = seal(root(tools=parent))
    error = world.refused(reason, 1, [first, seal(child(first, tools=tools), ALICE)])
    assert isinstance(error, ExcessError)
    assert error.field == field


def narrower(world: World, parent: Json, tools: Json, arguments: Json, tool: str = "bank.pay") -> None:
    first = seal(root(tools=parent))
    world.allowed([first, seal(child(first, tools=tools), ALICE)], BOB, tool, arguments)


def test_tool_added(world: World) -> None:
    error = "tools.mail.send"
    widened(world, Reason.TOOL_ADDED, TOOLS, TOOLS | {"mail.send": {}}, error)
    narrower(world, TOOLS, {"bank.pay": TOOLS["bank.pay"]}, {"amount": 5})


def test_constraint_widened(world: World) -> None:
    wider = {"bank.pay": {"amount": rule("range", max=101)}}
    widened(world, Reason.CONSTRAINT_WIDENED, TOOLS, wider, "tools.bank.pay.amount")
    narrower(world, TOOLS, {"bank.pay": {"amount": rule("range", max=99)}}, {"amount": 99})


def test_constraint_dropped(world: World) -> None:
    parent = {"bank.pay": {"amount": UP_TO_100, "to": rule("exact", value="bob")}}
    widened(world, Reason.ARGUMENT_DROPPED, parent, {"bank.pay": {"amount": UP_TO_100}}, "tools.bank.pay.to")
    widened(world, Reason.ARGUMENT_DROPPED, TOOLS, {"bank.pay": {}}, "tools.bank.pay.amount")
    narrower(world, parent, parent, {"amount": 5, "to": "bob"})


def test_constraint_added(world: World) -> None:
    more = {"bank.pay": {"amount": UP_TO_100, "to": rule("exact", value="bob")}}
    widened(world, Reason.ARGUMENT_ADDED, TOOLS, more, "tools.bank.pay.to")
    narrower(world, {"bank.pay": {}}, more, {"amount": 5, "to": "bob"})


def test_constraint_rewidened_to_wildcard(world: World) -> None:
    first = seal(root(tools={"bank.pay": {"amount": rule("wildcard")}}))
    second = seal(child(first, tools={"bank.pay": {"amount": UP_TO_100}}), ALICE)
    third = child(second, CAROL, tools={"bank.pay": {"amount": rule("wildcard")}})
    world.refused(Reason.CONSTRAINT_WIDENED, 2, [first, second, seal(third, BOB)], CAROL)
    third = child(second, CAROL, tools={"bank.pay": {"amount": rule("range", max=50)}})
    world.allowed([first, second, seal(third, BOB)], CAROL, "bank.pay", {"amount": 50})
    world.allowed([first], ALICE, "bank.pay", {"amount": "anything"})


def test_one_of_to_not_one_of(world: World) -> None:
    turned = {"mail.read": {"folder": rule("not_one_of", excluded=["spam"])}}
    widened(world, Reason.CONSTRAINT_WIDENED, TOOLS, turned, "tools.mail.read.folder")
    narrower(world, TOOLS, {"mail.read": {"folder": rule("one_of", values=["in"])}}, {"folder": "in"}, "mail.read")


def test_contains_and_subset_swapped(world: World) -> None:
    holds, within = rule("contains", required=["a"]), rule("subset", allowed=["a"])
    more, fewer = rule("contains", required=["a", "b"]), rule("subset", allowed=[])
    for parent, bad, good, value in (
        (holds, within, more, ["a", "b", "c"]),
        (within, holds, fewer, []),
        (more, holds, more, ["b", "a"]),
        (within, rule("subset", allowed=["a", "b"]), within, ["a", "a"]),
    ):
        tools = {"bank.pay": {"to": parent}}
        widened(world, Reason.CONSTRAINT_WIDENED, tools, {"bank.pay": {"to": bad}}, "tools.bank.pay.to")
        narrower(world, tools, {"bank.pay": {"to": good}}, {"to": value})


def test_argument_not_named(world: World) -> None:
    tokens = [seal(root())]
    world.denied(Reason.ARGUMENT_NOT_GRANTED, 0, tokens, ALICE, "bank.pay", {"amount": 5, "memo": "x"})
    world.denied(Reason.ARGUMENT_MISSING, 0, tokens, ALICE, "bank.pay", {})
    world.denied(Reason.ARGUMENT_MISSING, 0, tokens, ALICE, "bank.pay", {"amont": 5})
    world.allowed(tokens, ALICE, "bank.pay", {"amount": 5})


def test_every_hop_is_asked(world: World) -> None:
    """The conjunction holds at check time, whatever the leaf says."""
    first = seal(root(tools={"bank.pay": {"amount": rule("range", max=100)}}))
    second = seal(child(first, tools={"bank.pay": {"amount": rule("range", max=50)}}), ALICE)
    world.allowed([first], ALICE, "bank.pay", {"amount": 100})
    decision = world.denied(Reason.CONSTRAINT_VIOLATED, 0, [first, second], BOB, "bank.pay", {"amount": 101})
    assert [finding.hop for finding in decision.findings] == [0, 1]
    world.denied(Reason.CONSTRAINT_VIOLATED, 1, [first, second], BOB, "bank.pay", {"amount": 51})
    world.allowed([first, second], BOB, "bank.pay", {"amount": 50})


LIMITS: Json = {
    "classes": ["read", "act"],
    "classification": "internal",
    "purposes": ["travel.booking"],
    "budget": {"calls": 5, "amount": {"value": "100.00", "currency": "EUR", "argument": "amount"}},
    "approval": [{"when": {"tool": "bank.pay"}, "threshold": 2, "approvers": ["ann", "ben", "cem"]}],
}
GATE: Json = LIMITS["approval"][0]
AMOUNT: Json = LIMITS["budget"]["amount"]


def with_limit(name: str, value: Any) -> Json:
    return LIMITS | {name: value}


def without(name: str) -> Json:
    return {key: value for key, value in LIMITS.items() if key != name}


def limit_refused(world: World, limits: Json, reason: Reason, field: str) -> None:
    first = seal(root(limits=LIMITS))
    error = world.refused(reason, 1, [first, seal(child(first, limits=limits), ALICE)])
    assert isinstance(error, ExcessError)
    assert error.field == field


def limit_accepted(world: World, name: str, value: Any) -> None:
    """Authentic beside all the others; and allowed, where it stands alone."""
    first = seal(root(limits=LIMITS))
    assert len(world.accepted([first, seal(child(first, limits=with_limit(name, value)), ALICE)])) == 2
    tokens = [seal(root(limits={name: LIMITS[name]}, home=HOME))]
    tokens.append(seal(child(tokens[0], limits={name: value}), ALICE))
    world.allowed(tokens, BOB, purpose="travel.booking.hotel")


def test_class_added(world: World) -> None:
    for more in (["read", "act", "write"], ["write"]):
        limit_refused(world, with_limit("classes", more), Reason.CLASS_ADDED, "limits.classes")
    limit_accepted(world, "classes", ["read"])


def test_class_dropped(world: World) -> None:
    limit_refused(world, without("classes"), Reason.LIMIT_DROPPED, "limits.classes")
    limit_accepted(world, "classes", ["act", "read"])


def test_class_not_granted(world: World) -> None:
    tokens = [seal(root(limits={"classes": ["act"]}))]
    world.denied(Reason.CLASS_NOT_GRANTED, 0, tokens, ALICE)
    world.allowed(tokens, ALICE, "bank.pay")
    unlisted = [seal(root(tools={"unlisted": {}}, limits={"classes": ["read", "write"]}))]
    world.denied(Reason.CLASS_NOT_GRANTED, 0, unlisted, ALICE, "unlisted", {})
    nothing = [seal(root(limits={"classes": []}))]
    world.denied(Reason.CLASS_NOT_GRANTED, 0, nothing, ALICE)


def test_classification_raised(world: World) -> None:
    for label in ("confidential", "restricted", "secret", "Internal"):
        limits = with_limit("classification", label)
        limit_refused(world, limits, Reason.CLASSIFICATION_RAISED, "limits.classification")
    limit_accepted(world, "classification", "internal")


def test_classification_dropped(world: World) -> None:
    limit_refused(world, without("classification"), Reason.LIMIT_DROPPED, "limits.classification")
    limit_accepted(world, "classification", "internal")


def test_classification_exceeded(world: World) -> None:
    tokens = [seal(root(limits={"classification": "internal"}))]
    world.denied(Reason.CLASSIFICATION_EXCEEDED, 0, tokens, ALICE, classification="confidential")
    world.denied(Reason.CLASSIFICATION_EXCEEDED, 0, tokens, ALICE, classification="unheard-of")
    world.allowed(tokens, ALICE, classification="public")  # the catalogue's own label is not lowered by it
    world.denied(
        Reason.CLASSIFICATION_EXCEEDED,
        0,
        [seal(root(limits={"classification": "public"}))],
        ALICE,
        classification="public",
    )
    unlisted = [seal(root(tools={"unlisted": {}}, limits={"classification": "confidential"}))]
    world.denied(Reason.CLASSIFICATION_EXCEEDED, 0, unlisted, ALICE, "unlisted", {})
    world.allowed(unlisted, ALICE, "unlisted", {}, classification="confidential")


def test_purpose_widened(world: World) -> None:
    for purposes in (["travel"], ["travel.bookings"], ["travel.booking", "mail"], ["travel.booking-x"]):
        limit_refused(world, with_limit("purposes", purposes), Reason.PURPOSE_WIDENED, "limits.purposes")
    limit_accepted(world, "purposes", ["travel.booking.hotel"])


def test_purpose_dropped(world: World) -> None:
    limit_refused(world, without("purposes"), Reason.LIMIT_DROPPED, "limits.purposes")
    limit_accepted(world, "purposes", ["travel.booking", "travel.booking.hotel"])


def test_purpose_of_another_name(world: World) -> None:
    tokens = [seal(root(limits={"purposes": ["data"]}))]
    world.denied(Reason.PURPOSE_MISMATCH, 0, tokens, ALICE, purpose="database")
    world.denied(Reason.PURPOSE_MISMATCH, 0, tokens, ALICE, purpose="data ")
    world.denied(Reason.PURPOSE_MISSING, 0, tokens, ALICE)
    world.allowed(tokens, ALICE, purpose="data")
    world.allowed(tokens, ALICE, purpose="data.export")
    for malformed in ("data\n", "data.", ".data", "a..b", "", "data\u0000", "dätä"):
        world.refused(Reason.CLAIM_INVALID, 0, [seal(root(limits={"purposes": [malformed]}))], ALICE)


def test_audience_widened(world: World) -> None:
    extended = [entry(TOOLS, kind=EXTENDED)]
    first = seal(root(aud=[PEP, "https://b.example"], authorization_details=extended))
    for aud in (["https://c.example"], [PEP, "https://c.example"], "https://c.example"):
        world.refused(Reason.AUDIENCE_WIDENED, 1, [first, seal(child(first, aud=aud), ALICE)])
    for aud in (PEP, [PEP], [PEP, "https://b.example"]):
        world.allowed([first, seal(child(first, aud=aud), ALICE)], BOB)


def test_audience_dropped(world: World) -> None:
    first = seal(root(aud=PEP))
    world.refused(Reason.AUDIENCE_WIDENED, 1, [first, seal(child(first, aud=None), ALICE)])
    world.refused(Reason.CLAIM_INVALID, 1, [first, seal(child(first, aud=[]), ALICE)])
    world.allowed([first, seal(child(first), ALICE)], BOB)


def test_audience_mismatch(world: World) -> None:
    tokens = [seal(root(aud="https://other.example"))]
    world.denied(Reason.AUDIENCE_MISMATCH, 0, tokens, ALICE)
    named = [seal(root(aud=PEP))]
    world.denied(Reason.AUDIENCE_MISSING, 0, named, ALICE, audience=None)
    world.allowed(named, ALICE)


def test_budget_raised(world: World) -> None:
    money = {"value": "100.01", "currency": "EUR", "argument": "amount"}
    limit_refused(
        world, with_limit("budget", {"calls": 6, "amount": AMOUNT}), Reason.BUDGET_RAISED, "limits.budget.calls"
    )
    limit_refused(
        world, with_limit("budget", {"calls": 5, "amount": money}), Reason.BUDGET_RAISED, "limits.budget.amount"
    )
    limit_accepted(world, "budget", {"calls": 5, "amount": AMOUNT | {"value": "99.999999999"}})


def test_budget_dropped(world: World) -> None:
    limit_refused(world, without("budget"), Reason.LIMIT_DROPPED, "limits.budget")
    limit_refused(world, with_limit("budget", {"calls": 5}), Reason.LIMIT_DROPPED, "limits.budget.amount")
    limit_refused(world, with_limit("budget", {"amount": AMOUNT}), Reason.LIMIT_DROPPED, "limits.budget.calls")
    limit_accepted(world, "budget", {"calls": 4, "amount": AMOUNT})


@pytest.mark.parametrize("value", ["-1", "+1", "1e9", "01", "1.", ".5", "", "1\n", "\u0661", "NaN", "0x1", "1,00"])
def test_unreadable_amount(world: World, value: str) -> None:
    budget = {"amount": AMOUNT | {"value": value}}
    world.refused(Reason.CLAIM_INVALID, 0, [seal(root(limits={"budget": budget}))], ALICE)
    for bad in ({"calls": -1}, {"calls": 1.0}, {"calls": True}, {}, {"calls": 1, "colour": 1}):
        world.refused(Reason.CLAIM_INVALID, 0, [seal(root(limits={"budget": bad}))], ALICE)
    metered = [seal(root(tools={"bank.pay": {}}, limits={"budget": {"amount": AMOUNT}}, home=HOME))]
    world.denied(Reason.AMOUNT_UNREADABLE, 0, metered, ALICE, "bank.pay", {"amount": value})
    world.allowed(metered, ALICE, "bank.pay", {"amount": "1.5"})


def test_foreign_currency_amount(world: World) -> None:
    for other in ({"currency": "USD"}, {"argument": "fee"}):
        budget = {"calls": 5, "amount": AMOUNT | other | {"value": "1"}}
        limit_refused(world, with_limit("budget", budget), Reason.BUDGET_RAISED, "limits.budget.amount")
    for bad in ("eur", "EU", "EURO-2", "EUR\n"):
        budget = {"amount": AMOUNT | {"currency": bad}}
        world.refused(Reason.CLAIM_INVALID, 0, [seal(root(limits={"budget": budget}))], ALICE)
    limit_accepted(world, "budget", {"calls": 5, "amount": AMOUNT | {"value": "1"}})


def test_approval_gate_stripped(world: World) -> None:
    weaker: list[Any] = [
        GATE | {"threshold": 1},
        GATE | {"approvers": ["ann", "ben", "mallory"]},
        GATE | {"when": {"tool": "mail.read"}},
        GATE | {"when": {"class": "act"}},
    ]
    for gate in weaker:
        limit_refused(world, with_limit("approval", [gate]), Reason.APPROVAL_WEAKENED, "limits.approval")
    limit_refused(world, without("approval"), Reason.APPROVAL_WEAKENED, "limits.approval")
    more = {"when": {"class": "act"}, "threshold": 1, "approvers": ["dan"]}
    limit_accepted(world, "approval", [more, GATE | {"threshold": 2, "approvers": ["ann", "ben"]}])


@pytest.mark.parametrize("limits", [{"budget": {"calls": 1000}}, {"approval": [GATE]}])
def test_state_that_nobody_keeps_here(world: World, limits: Json) -> None:
    """A chain whose root names no home has nobody to count and to ask: it is refused at every hop beneath, too."""
    first = seal(root(limits=limits))
    siblings = [seal(child(first, to), ALICE) for to in (BOB, CAROL)]
    for sibling, by in zip(siblings, (BOB, CAROL), strict=True):
        world.denied(Reason.STATE_UNAVAILABLE, 0, [first, sibling], by)
    plain = seal(root())
    late = seal(child(plain, limits=limits), ALICE)
    world.denied(Reason.STATE_UNAVAILABLE, 1, [plain, late], BOB)
    world.allowed([plain], ALICE)
    world.allowed([seal(root(limits=limits, home=HOME))], ALICE)


def test_status_that_nobody_reads_here(world: World) -> None:
    status = {"status_list": {"idx": 1, "uri": "https://issuer.example/status"}}
    values: list[Any] = [status, False, 0, "", {}, []]
    for value in values:
        world.denied(Reason.STATE_UNAVAILABLE, 0, [seal(root(status=value))], ALICE)
    null = text_with_null_status()
    world.denied(Reason.STATE_UNAVAILABLE, 0, [seal(null)], ALICE)
    world.allowed([seal(root())], ALICE)


def text_with_null_status() -> bytes:
    return text(root(jti="null"))[:-1] + b',"status":null}'


TRUTHS: list[Any] = [True, 1, "1", None, [1], {"1": 1}]


@pytest.mark.parametrize("granted", TRUTHS)
@pytest.mark.parametrize("kind", ["exact", "one_of", "subset", "contains"])
def test_type_confusion(world: World, granted: Any, kind: str) -> None:
    if kind == "exact" and isinstance(granted, list | dict):
        compound = {"bank.pay": {"amount": rule("exact", value=granted)}}
        world.refused(Reason.CONSTRAINT_INVALID, 0, [seal(root(tools=compound))], ALICE)
        return
    member = {"exact": "value", "one_of": "values", "subset": "allowed", "contains": "required"}[kind]
    wrapped = granted if kind == "exact" else [granted]
    tokens = [seal(root(tools={"bank.pay": {"amount": rule(kind, **{member: wrapped})}}))]

    def value(given: Any) -> Json:
        return {"amount": [given] if kind in ("subset", "contains") else given}

    for other in [*TRUTHS, False, 0, 2, "true", "", [True], {"1": True}, ["1"], [[1]], {}]:
        if type(other) is type(granted) and other == granted and str(other) == str(granted):
            world.allowed(tokens, ALICE, "bank.pay", value(other))
        else:
            world.denied(Reason.CONSTRAINT_VIOLATED, 0, tokens, ALICE, "bank.pay", value(other))
    if granted == 1 and not isinstance(granted, bool):
        world.allowed(tokens, ALICE, "bank.pay", value(1.0))  # one number in JCS


def test_number_confusion(world: World) -> None:
    tokens = [seal(root(tools={"bank.pay": {"amount": rule("range", min=0, max=100)}}))]
    wrong: list[Any] = [True, False, "50", None, [50], {}, -0.001, 100.00001, 1e300]
    for bad in wrong:
        world.denied(Reason.CONSTRAINT_VIOLATED, 0, tokens, ALICE, "bank.pay", {"amount": bad})
    for bad in (float("nan"), float("inf"), 2**53, "\ud800"):
        with pytest.raises(ValueError, match=r"finite|2\^53|surrogate|valid"):
            world.request(tokens, ALICE, "bank.pay", {"amount": bad}, holder=ALICE.key.thumbprint)
    for good in (0, -0.0, 100, 99.99, 1e2):
        world.allowed(tokens, ALICE, "bank.pay", {"amount": good})


@pytest.mark.parametrize(
    "tool", ["bank.p\u0430y", "bank.pay ", "Bank.pay", "bank.pay\u200b", "bank.pay\x00", "bank\uff0epay", "e\u0301"]
)
def test_look_alike_tool_names(world: World, tool: str) -> None:
    first = seal(root(tools=TOOLS | {"\u00e9": {}}))
    world.denied(Reason.TOOL_NOT_GRANTED, 0, [first], ALICE, tool, {"amount": 5})
    world.refused(Reason.TOOL_ADDED, 1, [first, seal(child(first, tools={tool: {}}), ALICE)])
    world.allowed([first], ALICE, "bank.pay", {"amount": 5})
    world.allowed([first], ALICE, "\u00e9", {})


def test_look_alike_argument_names(world: World) -> None:
    first = seal(root(tools={"bank.pay": {"caf\u00e9": UP_TO_100, "": FOLDERS}}))
    world.denied(Reason.ARGUMENT_MISSING, 0, [first], ALICE, "bank.pay", {"cafe\u0301": 5, "": "in"})
    world.allowed([first], ALICE, "bank.pay", {"caf\u00e9": 5, "": "in"})


def test_reserved_tool(world: World) -> None:
    for tool in ("chain:delegate", "chain:revoke", "chain:", "chain:other", ""):
        world.refused(Reason.CLAIM_INVALID, 0, [seal(root(tools={tool: {}}))], ALICE)
    world.allowed([seal(root(tools={"chains:x": {}}))], ALICE, "chains:x", {})


@pytest.mark.parametrize(
    "bad",
    [
        rule("range", maximum=100),
        rule("exact"),
        rule("exact", value=1, values=[1]),
        rule("glob", pattern="*"),
        rule("regex", pattern=".*"),
        rule("one_of", values=[]),
        rule("all", constraints=[]),
        rule("any", constraints=[]),
        rule("not", constraint=rule("wildcard")),
        rule("range", max="100"),
        rule("range", max=True),
        rule("range", max=None),
        rule("range", max=2**53),
        rule("one_of", values=[2**53]),
        rule("one_of", values=[[2**53]]),
        rule("exact", value=2**70),
        rule("path_containment", root="data"),
        rule("path_containment", root="/data/../etc"),
        rule("path_containment", root="/data%2fetc"),
        rule("path_containment", root="/da\0ta"),
        {"type": "exact", "value": 1},
        {},
        [],
        "wildcard",
        None,
    ],
)
def test_unknown_constraint(world: World, bad: Any) -> None:
    world.refused(Reason.CONSTRAINT_INVALID, 0, [seal(root(tools={"bank.pay": {"amount": bad}}))], ALICE)
    world.refused(
        Reason.CONSTRAINT_INVALID,
        0,
        [seal(root(tools={"bank.pay": {"amount": rule("any", constraints=[bad])}}))],
        ALICE,
    )
    world.allowed([seal(root(tools={"bank.pay": {"amount": UP_TO_100}}))], ALICE, "bank.pay")


@pytest.mark.parametrize(
    "path",
    [
        "/data/../etc",
        "/database",
        "/dat",
        "data/x",
        "/data/%2e%2e/etc",
        "/data/..",
        "/data\\..\\etc",
        "/data/\0",
        "",
        7,
        ["/data"],
    ],
)
def test_path_outside(world: World, path: Any) -> None:
    tokens = [seal(root(tools={"mail.read": {"folder": rule("path_containment", root="/data")}}))]
    world.denied(Reason.CONSTRAINT_VIOLATED, 0, tokens, ALICE, "mail.read", {"folder": path})
    for good in ("/data", "/data/", "/data/x/y", "//data/./x", "/data/..x"):
        world.allowed(tokens, ALICE, "mail.read", {"folder": good})
    wider = child(tokens[0], tools={"mail.read": {"folder": rule("path_containment", root="/")}})
    world.refused(Reason.CONSTRAINT_WIDENED, 1, [*tokens, seal(wider, ALICE)])
