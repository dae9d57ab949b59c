"""Key certificates: a certified key signs roots of its window, for its issuer, under its certifier's ceiling."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import certificate, jcs, jws, mint, statuslist
from chain.anchor import Ceiling, TrustAnchor
from chain.base64url import b64encode
from chain.certificate import (
    CERTIFICATE_TYPE,
    MAX_CERTIFICATE,
    MAX_WINDOW,
    Certificate,
    CertificateError,
    CertifiedSigner,
)
from chain.control import Named
from chain.errors import ConfigurationError, InvalidRequestError, InvalidTokenError
from chain.judge import Judge
from chain.key import Signer
from chain.order import Issue, Revoke
from chain.reason import Reason
from chain.state import Settings
from chain.token import Verifier
from chain.trust import Trust
from tests import support as s
from tests.support import ALICE, ISSUER, MALLORY, NOW, Json, World

KMS, OTHER_KMS = s.ec_signer("kms"), s.ec_signer("another kms")
SHORT = s.signer("short-lived")
SINCE, UNTIL = NOW - 100, NOW + 500
SAID: Json = {"exp": UNTIL, "iat": SINCE, "iss": ISSUER, "jti": "c1", "jwk": s.jwk(SHORT)}
URI = "https://issuer.example/status/1"


def said(by: Signer = KMS, header: Json | None = None, **changed: Any) -> str:
    """A certificate as it is, whatever it says; a member that is None is left out."""
    payload = {name: value for name, value in (SAID | changed).items() if value is not None}
    return raw(jcs.dumps(payload), by, header)


def raw(payload: bytes, by: Signer = KMS, header: Json | None = None) -> str:
    named = {"typ": CERTIFICATE_TYPE, "kid": KMS.key.thumbprint} if header is None else header
    return jws.join(named, payload, by)


def signed(shown: str | None, by: Signer = SHORT, header: Json | None = None, **changed: Any) -> str:
    """A root that shows a certificate."""
    named = {"typ": "aat+jwt", "kid": by.key.thumbprint} | ({} if shown is None else {"chain_certificate": shown})
    named |= header or {}
    return s.seal(s.root(**changed), by, {name: value for name, value in named.items() if value is not None})


def certifying(key: Signer = KMS, issuer: str = ISSUER, ceiling: Ceiling = Ceiling()) -> TrustAnchor:  # noqa: B008
    return TrustAnchor(key.key, issuer, ceiling, certifies=True)


def verifier(*anchors: TrustAnchor) -> Verifier:
    return Verifier(anchors or [certifying()])


def certified(
    signer: Signer = SHORT, now: int = SINCE, window: int = UNTIL - SINCE, by: Signer = KMS
) -> CertifiedSigner:
    return CertifiedSigner(signer, certificate.certify(by, signer.key, ISSUER, jti="c1", now=now, window=window))


def test_what_is_certified_is_what_was_said() -> None:
    made = certified().certificate
    assert made == Certificate(SHORT.key, ISSUER, SINCE, UNTIL, "c1", KMS.key, made.text)
    assert certificate.verify(made.text, {KMS.key.thumbprint: KMS.key}) == made
    assert jws.split(made.text).signing_input == jws.split(said()).signing_input
    assert [made.covers(when) for when in (SINCE - 1, SINCE, UNTIL - 1, UNTIL)] == [False, True, True, False]
    assert repr(certified()) == f"CertifiedSigner({SHORT.key.thumbprint})"
    with pytest.raises(ValueError, match="another key's"):
        CertifiedSigner(MALLORY, made)


CERTIFICATES: dict[str, tuple[Callable[[], str], Reason]] = {
    "of another type": (lambda: said(header={"typ": "aat+jwt", "kid": KMS.key.thumbprint}), Reason.HEADER_UNSUPPORTED),
    "of no type": (lambda: said(header={"kid": KMS.key.thumbprint}), Reason.HEADER_UNSUPPORTED),
    "critical header": (
        lambda: said(header={"typ": CERTIFICATE_TYPE, "kid": KMS.key.thumbprint, "crit": ["x"]}),
        Reason.HEADER_UNSUPPORTED,
    ),
    "a token": (
        lambda: s.seal(s.root(), KMS, {"typ": "aat+jwt", "kid": KMS.key.thumbprint}),
        Reason.HEADER_UNSUPPORTED,
    ),
    "a root's payload": (lambda: raw(s.text(s.root())), Reason.CLAIM_INVALID),
    "a status list": (lambda: statuslist.publish(KMS, URI, [], NOW), Reason.HEADER_UNSUPPORTED),
    "by another kms": (lambda: said(OTHER_KMS), Reason.SIGNATURE_INVALID),
    "by a kms that nobody trusts": (
        lambda: said(OTHER_KMS, {"typ": CERTIFICATE_TYPE, "kid": OTHER_KMS.key.thumbprint}),
        Reason.ANCHOR_UNKNOWN,
    ),
    "by nobody who is named": (lambda: said(header={"typ": CERTIFICATE_TYPE}), Reason.ANCHOR_UNKNOWN),
    "by the certified key itself": (lambda: said(SHORT), Reason.ALGORITHM_REFUSED),
    "signed with the public key as a secret": (
        lambda: forged({"alg": "HS256"}, s.mac(b"x", KMS.key.raw)),
        Reason.ALGORITHM_REFUSED,
    ),
    "not signed": (lambda: forged({"alg": "none"}, b""), Reason.ALGORITHM_REFUSED),
    "changed": (
        lambda: said().replace(said().split(".")[1], b64encode(jcs.dumps(SAID | {"exp": UNTIL + 1}))),
        Reason.SIGNATURE_INVALID,
    ),
    "no token at all": (lambda: "not.a.certificate", Reason.TOKEN_MALFORMED),
    "too long": (
        lambda: said(jti="j" * 256, iss="https://" + "i" * (MAX_CERTIFICATE - 1000)) + "A" * 1000,
        Reason.TOKEN_TOO_LARGE,
    ),
    "without an end": (lambda: said(exp=None), Reason.CLAIM_INVALID),
    "without a beginning": (lambda: said(iat=None), Reason.CLAIM_INVALID),
    "without an issuer": (lambda: said(iss=None), Reason.CLAIM_INVALID),
    "with something more": (lambda: said(ceiling="none"), Reason.CLAIM_INVALID),
    "of no time": (lambda: said(exp=SINCE), Reason.LIFETIME_EXCEEDED),
    "that ends before it begins": (lambda: said(exp=SINCE - 1), Reason.LIFETIME_EXCEEDED),
    "for too long": (lambda: said(exp=SINCE + MAX_WINDOW + 1), Reason.LIFETIME_EXCEEDED),
    "a time in a fraction": (lambda: raw(jcs.dumps(SAID).replace(b'"iat":', b'"iat":0.5e1')), Reason.CLAIM_INVALID),
    "a member twice": (lambda: raw(jcs.dumps(SAID)[:-1] + b',"iat":1}'), Reason.CLAIM_INVALID),
    "with blanks": (lambda: raw(json.dumps(SAID).encode()), Reason.CLAIM_INVALID),
    "with a private member": (lambda: said(jwk=s.jwk(SHORT) | {"d": "AAAA"}), Reason.CLAIM_INVALID),
    "with a key's name": (lambda: said(jwk=s.jwk(SHORT) | {"kid": "x"}), Reason.CLAIM_INVALID),
    "of a weak key": (lambda: said(jwk=s.jwk(SHORT) | {"x": b64encode(bytes(32))}), Reason.KEY_INVALID),
    "of the certifier's own key": (lambda: said(jwk=s.jwk(KMS)), Reason.KEY_INVALID),
}


def forged(header: Json, signature: bytes) -> str:
    return s.forge(header | {"typ": CERTIFICATE_TYPE, "kid": KMS.key.thumbprint}, jcs.dumps(SAID), signature)


@pytest.mark.parametrize("case", CERTIFICATES)
def test_what_is_no_certificate_certifies_nothing(case: str) -> None:
    make, reason = CERTIFICATES[case]
    shown = make()
    for _ in range(2):  # what is remembered is what was found good
        with pytest.raises(CertificateError) as refused:
            certificate.verify(shown, {KMS.key.thumbprint: KMS.key})
        assert refused.value.reason is reason
        with pytest.raises(InvalidTokenError) as denied:
            verifier().verify([signed(shown)])
        assert (denied.value.reason, denied.value.hop) == (reason, 0)
    assert verifier().verify([signed(said())]).root.signer == SHORT.key.thumbprint


@given(st.integers(0, 1 << 30), st.binary(max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_nothing_but_the_one_error_comes_out(place: int, put: bytes, by_the_kms: bool) -> None:
    """Whatever is changed, under the certifier's own signature too: it is refused, or says what was said."""
    good = jcs.dumps(SAID)
    at = place % len(good)
    payload = good[:at] + put + good[at + len(put) :]
    text = raw(payload) if by_the_kms else raw(good).replace(".", put.decode("latin-1"), 1)
    try:
        found = certificate.verify(text, {KMS.key.thumbprint: KMS.key})
    except CertificateError:
        return
    assert jws.split(found.text).payload == (payload if by_the_kms else good)
    assert found.until - found.since <= MAX_WINDOW


def test_the_longest_window_and_the_longest_issuer_are_accepted() -> None:
    issuer = "https://issuer.example/" + "i" * 1000
    shown = said(exp=SINCE + MAX_WINDOW, iss=issuer, jti="j" * 256)
    assert len(shown) <= MAX_CERTIFICATE
    assert verifier(certifying(issuer=issuer)).verify([signed(shown, iss=issuer)]).root.iat == NOW - 10


ROOTS: dict[str, tuple[Callable[[], str], tuple[TrustAnchor, ...], Reason]] = {
    "issued before the window": (lambda: signed(said(), iat=SINCE - 1), (), Reason.ANCHOR_EXCEEDED),
    "issued after the window": (lambda: signed(said(), iat=UNTIL), (), Reason.ANCHOR_EXCEEDED),
    "of another issuer": (lambda: signed(said(), iss="https://b.example"), (), Reason.ISSUER_MISMATCH),
    "certified for an issuer of another certifier": (
        lambda: signed(said(iss="https://b.example"), iss="https://b.example"),
        (certifying(), certifying(OTHER_KMS, "https://b.example")),
        Reason.ISSUER_MISMATCH,
    ),
    "certified for one issuer and shown for the other": (
        lambda: signed(said(iss="https://b.example")),
        (certifying(), certifying(issuer="https://b.example")),
        Reason.ISSUER_MISMATCH,
    ),
    "beyond the ceiling": (
        lambda: signed(said()),
        (certifying(ceiling=Ceiling(tools=frozenset({"mail.read"}))),),
        Reason.ANCHOR_EXCEEDED,
    ),
    "by a key that is not the certified one": (
        lambda: signed(said(), MALLORY, {"kid": SHORT.key.thumbprint}),
        (),
        Reason.SIGNATURE_INVALID,
    ),
    "with another key's name": (
        lambda: signed(said(), SHORT, {"kid": MALLORY.key.thumbprint}),
        (),
        Reason.CLAIM_INVALID,
    ),
    "by the certifier": (lambda: signed(None, KMS), (), Reason.ANCHOR_UNKNOWN),
    "by the certifier, with a certificate": (lambda: signed(said(), KMS, {"kid": None}), (), Reason.ALGORITHM_REFUSED),
    "without its certificate": (lambda: signed(None), (), Reason.ANCHOR_UNKNOWN),
    "under an anchor that signs and does not certify": (
        lambda: signed(said()),
        (TrustAnchor(KMS.key, ISSUER),),
        Reason.ALGORITHM_REFUSED,
    ),
    "certified by a certified key": (
        lambda: signed(
            said(SHORT, {"typ": CERTIFICATE_TYPE, "kid": SHORT.key.thumbprint}, jwk=s.jwk(MALLORY)), MALLORY
        ),
        (),
        Reason.ANCHOR_UNKNOWN,
    ),
}


@pytest.mark.parametrize("case", ROOTS)
def test_a_certified_key_speaks_for_its_issuer_in_its_window_and_no_further(case: str) -> None:
    make, anchors, reason = ROOTS[case]
    with pytest.raises(InvalidTokenError) as refused:
        verifier(*anchors).verify([make()])
    assert (refused.value.reason, refused.value.hop) == (reason, 0)
    if all(anchor.certifies for anchor in anchors):
        asked = {"tools": {"mail.read": {}}}
        assert verifier(*anchors).verify([signed(said(), **asked)]).root.certifier == KMS.key.thumbprint


def test_the_first_and_the_last_moment_of_the_window_are_in_it() -> None:
    for iat in (SINCE, UNTIL - 1):
        assert verifier().verify([signed(said(), iat=iat, exp=UNTIL + 9)]).root.iat == iat


def test_a_root_outlives_its_keys_window_and_is_handed_on() -> None:
    """Whether it was issued in the window is as true afterwards; nothing here reads a clock."""
    first = signed(said(), exp=UNTIL + 10_000)
    assert len(verifier().verify([first, s.seal(s.child(first), ALICE)])) == 2


def test_an_anchor_that_is_named_is_asked_before_the_certificate() -> None:
    both = verifier(certifying(), TrustAnchor(SHORT.key, "https://direct.example"))
    direct = both.verify([signed(said(), iss="https://direct.example", iat=SINCE - 50)])
    assert direct.root.certifier == ""


def test_what_nobody_certifies_for_is_a_member_like_any_other() -> None:
    """A stranger who knows the key, and nothing of certificates, takes the root for what it says."""
    plain = Verifier([TrustAnchor(SHORT.key, ISSUER)])
    assert plain.verify([signed(said())]).root.signer == SHORT.key.thumbprint
    assert plain.verify([signed("anything")]).root.signer == SHORT.key.thumbprint


def test_an_anchor_that_certifies_is_bound_to_its_issuer() -> None:
    with pytest.raises(ValueError, match="has an issuer"):
        TrustAnchor(KMS.key, certifies=True)
    with pytest.raises(ValueError, match="no certificate of its own"):
        TrustAnchor(SHORT.key, ISSUER, certifies=True, certificate=certified().certificate)
    assert verifier().trusts(KMS.key, ISSUER, certifies=True)
    assert not verifier().trusts(KMS.key, "https://b.example", certifies=True)
    assert not verifier().trusts(SHORT.key, ISSUER, certifies=True)


def test_a_server_does_not_sign_roots_with_what_only_certifies() -> None:
    for anchor, signer in ((certifying(), KMS), (TrustAnchor(KMS.key, ISSUER), certified())):
        with pytest.raises(ConfigurationError, match="no trust anchor lets"):
            World(verifier=verifier(anchor), signer=signer)
    World(verifier=verifier(TrustAnchor(KMS.key, ISSUER)), signer=KMS)
    World(verifier=verifier(certifying()), signer=certified())


def test_roots_of_a_removed_certifier_are_no_chain_any_more() -> None:
    held = verifier()
    tokens = [signed(said())]
    held.verify(tokens)
    held.replace([certifying(OTHER_KMS)])
    with pytest.raises(InvalidTokenError) as refused:
        held.verify(tokens)
    assert refused.value.reason is Reason.ANCHOR_UNKNOWN
    held.replace([certifying()])
    held.verify(tokens)


@pytest.fixture
def world() -> World:
    return World(verifier=verifier(), signer=certified(), settings=Settings(status_list=URI))


def issued(world: World, *, listed: bool = False) -> str:
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=3000, listed=listed)
    return world.authority.issue(world.caller, order).token


def offline(tokens: list[str], now: int = NOW, lists: tuple[str, ...] = (), **anchor: Any) -> tuple[str, str]:
    question = {
        "tokens": tokens,
        "trust_anchors": [{"jwk": s.jwk(KMS), "iss": ISSUER, "certifies": True} | anchor],
        "tool": "mail.read",
        "args": {"folder": "in"},
        "now": now,
        "holder": "channel",
        "audience": s.PEP,
        "catalogue": {"mail.read": "read"},
        "status_lists": list(lists),
    }
    answer = Judge(lambda: NOW).answer(json.dumps(question))
    return answer.effect, answer.reason


def test_a_root_of_a_certified_key_is_explained_within_what_its_certifier_may() -> None:
    may = Ceiling(tools=frozenset({"mail.read"}))
    world = World(verifier=verifier(certifying(ceiling=may)), signer=certified())
    root = issued(world)
    asked = world.request([root], ALICE, "mail.send", {})
    refused = world.authority.explain(world.caller, [root], asked)
    assert (refused.decision.allowed, refused.changes) == (False, ()), "no change that its anchor may not grant"
    assert world.authority.explain(world.caller, [root], world.request([root], ALICE)).decision.allowed


def test_who_knows_the_kms_alone_judges_a_root_of_any_of_its_keys(world: World) -> None:
    first = issued(world)
    world.allowed([first], ALICE)
    for number in range(3):
        world.signer = certified(s.signer(f"short {number}"), now=NOW - 5)
        world.authority = world.open()
        tokens = [issued(world), first]
        for one in tokens:
            world.allowed([one], ALICE)
            assert offline([one]) == ("ALLOW", "allowed")
    assert offline([first], certifies=False) == ("DENY", "algorithm_refused")
    assert offline([first], jwk=s.jwk(OTHER_KMS)) == ("DENY", "anchor_unknown")
    assert offline([first], iss="https://b.example") == ("DENY", "issuer_mismatch")
    without = {"jwk": s.jwk(KMS), "certifies": True}
    assert (
        Judge(lambda: NOW)
        .answer(json.dumps({"tokens": [first], "trust_anchors": [without], "tool": "mail.read", "args": {}}))
        .reason
        == "request_invalid"
    )


def test_a_list_of_a_later_key_tells_of_the_roots_of_an_earlier_one(world: World) -> None:
    gone, stays = (issued(world, listed=True) for _ in range(2))
    world.signer = certified(s.signer("later"), now=NOW - 5)
    world.authority = world.open()
    world.authority.revoke(world.caller, Revoke(mint.unverified(gone).digest))
    fresh = world.authority.status_list(world.caller)
    assert offline([stays], lists=(fresh,)) == ("ALLOW", "allowed")
    assert offline([gone], lists=(fresh,)) == ("DENY", "revoked")


def test_a_list_is_published_in_its_keys_window() -> None:
    trust = Trust([certifying()], (), 0)
    for when in (SINCE, UNTIL - 1):
        assert statuslist.read(statuslist.publish(certified(), URI, [], when), trust).issuers == {ISSUER}
    for when in (SINCE - 1, UNTIL):
        with pytest.raises(InvalidRequestError, match="window"):
            statuslist.read(statuslist.publish(certified(), URI, [], when), trust)
    with pytest.raises(InvalidRequestError, match="no trust anchor's key"):
        statuslist.read(statuslist.publish(KMS, URI, [], NOW), trust)


def test_what_a_root_shows_is_not_believed_where_revocations_are_told() -> None:
    """A root that is good by itself shows a certificate that is none: it falls by its own key's name, and no other."""
    world = World(verifier=verifier(certifying(), TrustAnchor(SHORT.key, ISSUER)), signer=None)
    shown = ("nothing", said(OTHER_KMS), said(jwk=s.jwk(MALLORY)))
    roots = [signed(one, exp=NOW + 500 + number) for number, one in enumerate(shown)]
    for one in roots:
        world.allowed([one], ALICE)
    fell = [
        world.authority.revoke(world.caller, Revoke(named=Named("key", key.key.thumbprint))).count
        for key in (MALLORY, KMS, SHORT)
    ]
    assert fell == [0, 0, len(roots)]
    for one in roots:
        world.denied(Reason.REVOKED, 0, [one], ALICE)


def test_a_root_falls_with_its_own_key_among_keys_of_other_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(verifier=verifier(TrustAnchor(s.ROOT_KEY.key, ISSUER), TrustAnchor(KMS.key, ISSUER)))
    one = issued(world)

    def fell(key: Signer) -> int:
        return world.authority.revoke(world.caller, Revoke(named=Named("key", key.key.thumbprint))).count

    assert fell(KMS) == 0
    with monkeypatch.context() as patch:  # a row that is no token any more is by nobody
        split = jws.split
        patch.setattr("chain.fall.jws.split", lambda _: split("no token"))
        assert fell(s.ROOT_KEY) == 0
    assert fell(s.ROOT_KEY) == 1
    world.denied(Reason.REVOKED, 0, [one], ALICE)


@pytest.mark.parametrize(("name", "falls"), [("short", 1), ("kms", 2)])
def test_who_revokes_a_key_or_what_certified_it_fells_its_roots(world: World, name: str, falls: int) -> None:
    first = issued(world)
    world.signer = certified(s.signer("later"), now=NOW - 5)
    world.authority = world.open()
    second = issued(world)
    key = {"short": SHORT, "kms": KMS}[name].key.thumbprint
    fell = world.authority.revoke(world.caller, Revoke(named=Named("key", key)))
    assert (fell.count, fell.at_least) == (falls, False)
    world.denied(Reason.REVOKED, 0, [first], ALICE)
    (world.denied if falls == 2 else lambda *args: world.allowed(*args[2:]))(Reason.REVOKED, 0, [second], ALICE)
    status = [world.authority.get(world.caller, mint.unverified(one).digest).status for one in (first, second)]
    assert status == ["revoked", "revoked" if falls == 2 else "active"]
