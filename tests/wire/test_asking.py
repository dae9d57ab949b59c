"""Requests and changes over the wire: strict on the way in, and the caller's own facts are never the message's."""

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import mint
from chain.base64url import b64encode
from chain.caller import Caller, Role
from chain.claims import Intent
from chain.decision import Finding, denied
from chain.errors import DeniedError, InvalidRequestError
from chain.key import KeySigner
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.v1 import authorization_pb2, chain_pb2, decision_pb2, delegation_pb2
from chain.view import Delegated, Page, Query, Revoked
from chain.wire import convert

POINT = Caller("point", frozenset({Role.ENFORCEMENT_POINT}), "https://pep.example")
AGENT = Caller("alice", frozenset({Role.AGENT}), "https://pep.example", "thumb", channel=True)
KEY = KeySigner.from_seed(bytes(32)).key
DIGEST = bytes(range(32))


def test_audience_and_holder_are_the_callers_and_not_the_messages() -> None:
    request = Request(tool="t", arguments={"a": 1}, audience="https://evil.example", holder="mallory")
    sent = convert.check_to(["x"], request, channel=True)
    asking = convert.check_from(sent, AGENT)
    assert (asking.request.audience, asking.request.holder) == ("https://pep.example", "thumb")
    assert convert.check_from(sent, POINT).request.holder is None
    assert convert.check_from(convert.check_to(["x"], request), AGENT).request.holder is None


def test_every_stated_fact_arrives() -> None:
    request = Request(
        tool="t",
        arguments={"a": [1, 2.5, None, {"ü": True}]},
        purpose="travel.booking",
        intent="abc",
        labels=("tainted", "x"),
        classification="internal",
        proof="p.r.o",
        request_id="r" * 16,
    )
    asking = convert.check_from(convert.check_to(DIGEST, request, at_least=9), POINT)
    assert asking == (DIGEST, request.model_copy(update={"audience": "https://pep.example"}), 9)
    latest = convert.check_to(DIGEST, request, at_least=9, fully_consistent=True)
    assert convert.check_from(latest, POINT).at_least == convert.LATEST


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_tokens_reach_the_verifier_byte_for_byte(tokens: list[bytes]) -> None:
    presented = convert.chain_from(chain_pb2.Chain(tokens=tokens))
    assert [text.encode("latin-1") for text in presented] == tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"tool": ""},
        {"tool": "x" * 1025},
        {"arguments_json": b"[1]"},
        {"arguments_json": b'{"a":1,"a":1}'},
        {"arguments_json": b'{"a":9007199254740992}'},
        {"arguments_json": b"\xc3"},
        {"request_id": "short"},
        {"labels": ["x" * 1025]},
        {"purpose": "x" * 1025},
        {"chain": chain_pb2.Chain(tokens=[b"x"], digest=DIGEST)},
    ],
)
def test_a_request_that_is_not_well_formed_is_an_error(changes: dict[str, Any]) -> None:
    good = {"tool": "t", "arguments_json": b'{"a":1}'}
    assert convert.check_from(authorization_pb2.CheckRequest(**good), POINT).request.tool == "t"
    with pytest.raises(InvalidRequestError) as caught:
        convert.check_from(authorization_pb2.CheckRequest(**(good | changes)), POINT)
    assert "9007199254740992" not in str(caught.value)


def test_an_item_takes_the_batchs_chain_only_where_it_has_none() -> None:
    shared = ("shared",)
    own = convert.check_to(["own"], Request(tool="t"))
    none = convert.check_to(None, Request(tool="t"))
    assert convert.check_from(own, POINT, shared).presented == ("own",)
    assert convert.check_from(none, POINT, shared).presented == ("shared",)
    assert convert.check_from(none, POINT).presented == ()


ORDERS = [
    Issue(holder=KEY, grant=mint.grant({"tools": {"a": {}}}), lifetime=60),
    Issue(
        holder=KEY,
        grant=mint.grant({"tools": {"a": {}}, "limits": {"classes": ["read"], "purposes": ["x.y"]}}),
        lifetime=60,
        max_depth=0,
        audience=("https://a", "https://b"),
        sub="dana",
        owner="team",
        task="t1",
        intent=Intent("d", "sha-256", "s"),
    ),
    Issue(holder=KEY, grant=mint.grant({"tools": {"a": {}}}), audience="https://a"),
]


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_to_issue_comes_back_as_it_was(order: Issue) -> None:
    message = convert.issue_to(order, "key")
    assert convert.issue_from(message) == order
    assert convert.issue_from(message).asked == order.asked


def test_no_lifetime_and_none_at_all_are_not_the_same() -> None:
    """On the wire 0 asks for none in particular, so an order for no time at all must not become that."""
    order = Issue(holder=KEY, grant=mint.grant({"tools": {"a": {}}}))
    assert convert.issue_to(order, "key").lifetime_seconds == 0
    with pytest.raises(InvalidRequestError, match="a lifetime of 0 s"):
        convert.issue_to(replace(order, lifetime=0), "key")


@pytest.mark.parametrize(
    "changes",
    [
        {"holder_jwk_json": b"{}"},
        {"holder_jwk_json": b'{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}'},
        {"grant_json": b""},
        {"grant_json": b'{"tools":{"a":{"b":{"constraint_type":"glob"}}}}'},
        {"audience": [""]},
        {"intent": chain_pb2.Intent(digest="x")},
    ],
)
def test_a_bad_order_is_an_error(changes: dict[str, Any]) -> None:
    good = {"holder_jwk_json": KEY.to_json().encode(), "grant_json": b'{"tools":{"a":{}}}'}
    convert.issue_from(delegation_pb2.IssueRequest(**good))
    with pytest.raises(InvalidRequestError):
        convert.issue_from(delegation_pb2.IssueRequest(**(good | changes)))


@pytest.mark.parametrize("key", ["", "x" * 129, "ü" * 65])
def test_an_idempotency_key_has_its_bounds(key: str) -> None:
    assert convert.key_from("x" * 128)
    with pytest.raises(InvalidRequestError):
        convert.key_from(key)


def test_only_the_arm_that_grants_is_a_grant() -> None:
    denial = denied(Finding(reason=Reason.REVOKED, hop=0, detail="revoked"), at=1.0)
    with pytest.raises(DeniedError) as caught:
        convert.delegated_from(convert.delegated_to(denial, 3), "child")
    assert caught.value.reason is Reason.REVOKED
    with pytest.raises(DeniedError):
        convert.delegated_from(delegation_pb2.DelegateResponse(), "child")
    with pytest.raises(DeniedError):
        convert.revoked_from(delegation_pb2.RevokeResponse())
    allow = delegation_pb2.DelegateResponse(denial=decision_pb2.Decision(effect=decision_pb2.EFFECT_ALLOW))
    with pytest.raises(DeniedError) as caught:
        convert.delegated_from(allow, "child")
    assert not caught.value.decision.allowed


def test_a_revocation_names_a_target_or_means_the_leaf() -> None:
    ending = convert.revoke_from(convert.revoke_to(Revoke(DIGEST, "why"), ["x.y.z"], "proof", "k"))
    assert ending == (Revoke(DIGEST, "why"), ("x.y.z",), "proof", False)
    message = delegation_pb2.RevokeRequest(chain=chain_pb2.Chain(digest=DIGEST), channel=True)
    assert convert.revoke_from(message) == (Revoke(DIGEST), DIGEST, None, True)
    for bad in (
        delegation_pb2.RevokeRequest(),
        delegation_pb2.RevokeRequest(target=b"short"),
        delegation_pb2.RevokeRequest(target=DIGEST, cause="x" * 1025),
        delegation_pb2.RevokeRequest(target=DIGEST, cause="two\nlines"),
    ):
        with pytest.raises(InvalidRequestError):
            convert.revoke_from(bad)


def test_what_fell_comes_back() -> None:
    fallen = tuple(b64encode(os.urandom(32)) for _ in range(1200))
    message = convert.revoked_to(Revoked(fallen, 1200, 5), 5)
    assert convert.revoked_from(message) == Revoked(fallen[:1000], 1200, 5)


@pytest.mark.parametrize(
    "principal",
    [
        Principal(id="spiffe://a.example/x/y", kind="human", owner="o"),
        Principal(id="spiffe://a.example/x", kind="service", owner="o", under="t" * 43),
        Principal(id="spiffe://a.example/x", owner="o", review="2027-01-31"),
    ],
)
def test_an_enrolment_comes_back_as_it_was(principal: Principal) -> None:
    assert convert.enrol_from(convert.enrol_to(KEY, principal, "k")) == (KEY, principal)


@pytest.mark.parametrize(
    "changes",
    [{"kind": 0}, {"kind": 9}, {"principal": ""}, {"principal": "../x"}, {"owner": ""}, {"trust_domain": "B"}]
    + [{"review": day} for day in ("soon", "2027-02-30", "20270131", "2027-W05-7", "2027-01-31T00:00")],
)
def test_an_enrolment_of_nobody_is_an_error(changes: dict[str, Any]) -> None:
    good = {"jwk_json": KEY.to_json().encode(), "principal": "x", "trust_domain": "a.example", "owner": "o", "kind": 2}
    assert convert.enrol_from(delegation_pb2.EnrolRequest(**good))[1].id == "spiffe://a.example/x"
    with pytest.raises(InvalidRequestError):
        convert.enrol_from(delegation_pb2.EnrolRequest(**(good | changes)))
    other = good | {"principal": "spiffe://b.example/x"}
    with pytest.raises(InvalidRequestError):
        convert.enrol_from(delegation_pb2.EnrolRequest(**other))


@pytest.mark.parametrize(
    "query",
    [Query(), Query(up=DIGEST), Query(down=DIGEST, status="revoked"), Query(holder="h", task="t", limit=7)],
)
def test_a_query_comes_back_and_its_cursor_holds_for_it_alone(query: Query) -> None:
    asked = convert.query_to(query)
    assert convert.query_from(asked) == query
    token = convert.page_to(Page((), 42), asked, 50).next_page_token
    assert convert.query_from(convert.query_to(query, token)).after == 42
    with pytest.raises(InvalidRequestError):
        convert.query_from(convert.query_to(Query(holder="another"), token))
    for forged in ("42", "x", "-1" + token[2:], "٤" + token[2:]):
        with pytest.raises(InvalidRequestError):
            convert.query_from(convert.query_to(query, forged))
    assert convert.page_to(Page((), 0), asked, 50).next_page_token == ""


def test_a_status_that_is_not_known_is_not_active() -> None:
    message = delegation_pb2.Delegation(digest=DIGEST, status=9)
    assert convert.delegation_from(message).status != "active"
    message.status = delegation_pb2.DELEGATION_STATUS_ACTIVE
    assert isinstance(convert.delegation_from(message), Delegated)
    assert convert.delegation_from(message).status == "active"
