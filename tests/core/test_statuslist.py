"""Token Status Lists: the draft's own vectors, what is not believed, and a root that a stranger learns was revoked."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chain import jws, mint, statuslist
from chain.anchor import TrustAnchor
from chain.base64url import b64encode
from chain.control import Named
from chain.errors import InvalidRequestError
from chain.judge import Judge
from chain.key import KeySigner
from chain.order import Issue, Revoke
from chain.reason import Reason
from chain.statuslist import LIST_TYPE, MAX_LIST, TTL, Reference
from chain.trust import Trust
from tests.support import ALICE, BOB, ISSUER, MALLORY, NOW, PEP, ROOT_KEY, Json, Settings, World, child, jwk, root, seal

URI = "https://issuer.example/status/1"


@pytest.fixture
def world() -> World:
    return World(settings=Settings(status_list=URI))


def listed(world: World) -> str:
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=3000, listed=True)
    return world.authority.issue(world.caller, order).token


def offline(tokens: list[str], lists: list[str] | None, now: int = NOW) -> tuple[str, str]:
    question: Json = {
        "tokens": tokens,
        "trust_anchors": [{"jwk": jwk(ROOT_KEY), "iss": ISSUER}],
        "tool": "mail.read",
        "args": {},
        "now": now,
        "holder": "channel",
        "audience": PEP,
        "catalogue": {"mail.read": "read"},
    }
    if lists is not None:
        question["status_lists"] = lists
    answer = Judge(lambda: NOW).answer(json.dumps(question))
    return answer.effect, answer.reason


def trust(*keys: KeySigner) -> Trust:
    return Trust([TrustAnchor(key.key, ISSUER) for key in keys], (), 0)


def test_the_drafts_vectors() -> None:
    """draft-ietf-oauth-status-list s4.1: sixteen one-bit statuses, twelve two-bit ones."""
    one = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    two = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]
    assert statuslist.pack(one).hex() == "78dadbb918000217015d"
    assert statuslist.pack(two, 2).hex() == "78da3be9f2130003df0207"
    with pytest.raises(ValueError, match="does not fit"):
        statuslist.pack([2])
    for bits, values in ((1, one), (2, two)):
        claims = {
            "sub": URI,
            "iat": NOW,
            "status_list": {"bits": bits, "lst": b64encode(statuslist.pack(values, bits))},
        }
        read = statuslist.read(sealed(claims), trust(ROOT_KEY))
        assert [read.invalid(place, NOW) for place in range(len(values))] == [value > 0 for value in values]
        assert read.invalid(len(values) + 8, NOW) is None


def sealed(claims: Any, typ: str = LIST_TYPE, by: Any = ROOT_KEY) -> str:
    data = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jws.join({"typ": typ}, data, by)


def test_a_list_is_strict() -> None:
    good: Json = {"sub": URI, "iat": NOW, "status_list": {"bits": 1, "lst": b64encode(statuslist.pack([1, 0]))}}
    assert statuslist.read(sealed(good), trust(MALLORY, ROOT_KEY)).signer == ROOT_KEY.key.thumbprint
    bomb = b64encode(zlib.compress(bytes(MAX_LIST + 1)))
    bad = [
        sealed(good, by=MALLORY),
        sealed(good, typ="JWT"),
        sealed(good | {"status_list": {"bits": 3, "lst": good["status_list"]["lst"]}}),
        sealed(good | {"status_list": {"bits": 1, "lst": b64encode(b"no zlib")}}),
        sealed(good | {"status_list": {"bits": 1, "lst": bomb}}),
        sealed(good | {"status_list": {"bits": 1, "lst": b64encode(statuslist.pack([1]) + b"more")}}),
        sealed({name: value for name, value in good.items() if name != "sub"}),
        sealed(json.dumps(good)[:-1].encode() + b',"iat":1}'),
        "not.a.list",
    ]
    for text in bad:
        with pytest.raises(InvalidRequestError):
            statuslist.read(text, trust(ROOT_KEY))


@pytest.mark.parametrize(
    "status",
    [
        b"{}", b"1", b'{"status_list":{"idx":-1,"uri":"u"}}', b'{"status_list":{"idx":1}}',
        b'{"status_list":{"idx":1,"uri":"u","more":1}}', b'{"status_list":{"idx":1,"idx":2,"uri":"u"}}',
        b'{"status_list":{"idx":1,"uri":"u"},"other":{}}', b'{"status_list":{"idx":1.5,"uri":"u"}}',
    ],
)  # fmt: skip
def test_a_reference_is_exactly_one(status: bytes) -> None:
    assert statuslist.reference(status) is None
    assert statuslist.reference(msgspec.Raw(b'{"status_list":{"idx":1,"uri":"u"}}')) == Reference(1, "u")


def test_a_listed_root_is_allowed_at_home_and_offline_with_the_list_alone(world: World) -> None:
    token, other = listed(world), listed(world)
    below = seal(child(token, BOB), ALICE)
    for tokens, by in (([token], ALICE), ([token, below], BOB), ([other], ALICE)):
        world.allowed(tokens, by, "mail.read", {})
    fresh = world.authority.status_list(world.caller)
    assert offline([token], [fresh]) == ("ALLOW", "allowed")
    assert offline([token, below], [fresh]) == ("ALLOW", "allowed")
    assert offline([token], None) == ("DENY", "state_unavailable")
    assert offline([token], [fresh], NOW + 2 * TTL) == ("DENY", "state_unavailable")  # it no longer says so
    assert offline([token], [statuslist.publish(ROOT_KEY, URI + "2", [], NOW)]) == ("DENY", "state_unavailable")
    assert offline([token], [statuslist.publish(MALLORY, URI, [], NOW)]) == ("DENY", "request_invalid")


def test_a_stranger_learns_of_a_revocation(world: World) -> None:
    token, other = listed(world), listed(world)
    world.authority.revoke(world.caller, Revoke(mint.unverified(token).digest))
    after = world.authority.status_list(world.caller)
    assert offline([token], [after]) == ("DENY", "revoked")
    assert offline([other], [after]) == ("ALLOW", "allowed")
    restarted = world.open()
    assert offline([token], [restarted.status_list(world.caller)]) == ("DENY", "revoked")
    third = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=600, listed=True)
    made = restarted.issue(world.caller, third).token
    assert offline([made], [restarted.status_list(world.caller)]) == ("ALLOW", "allowed")  # a place of its own


def test_a_revocation_by_name_stands_in_the_list(world: World) -> None:
    token = listed(world)
    world.authority.revoke(world.caller, Revoke(named=Named("issuer", ISSUER)))
    assert offline([token], [world.authority.status_list(world.caller)]) == ("DENY", "revoked")


def test_another_place_or_another_list_is_not_read_at_home(world: World) -> None:
    token = listed(world)
    world.allowed([token], ALICE, "mail.read", {})
    for status in ({"idx": 0, "uri": URI}, {"idx": 7, "uri": URI}, {"idx": 0, "uri": "https://other.example"}):
        copied = seal(root(status={"status_list": status}, jti=f"c{status['idx']}{status['uri']}"))
        world.denied(Reason.STATE_UNAVAILABLE, 0, [copied], ALICE)


def test_none_is_published_without_a_name() -> None:
    world = World()
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=600, listed=True)
    with pytest.raises(InvalidRequestError, match="no status list"):
        world.authority.issue(world.caller, order)
    with pytest.raises(InvalidRequestError, match="no status list"):
        world.authority.status_list(world.caller)
    assert world.authority.issue(world.caller, replace(order, listed=False)).token


def test_a_million_places_are_small() -> None:
    revoked = range(0, 1 << 20, 1000)
    assert len(statuslist.publish(ROOT_KEY, URI, revoked, NOW)) < 16_000
