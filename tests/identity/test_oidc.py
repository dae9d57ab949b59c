"""OIDC tokens: each way to be wrong has its code, and the same token made right is accepted."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

import pytest

from chain.identity import jwks as jwks_module
from chain.identity.fault import Fault, IdentityError
from chain.identity.jwks import KeySet, parse
from chain.identity.jwtsvid import verify as verify_svid
from chain.identity.material import TrustBundle
from chain.identity.oidc import Issuer, People, verify
from chain.peer import NotYetError
from tests.identity.provider import ISSUER, NOW, US, claims, jwks, public, signed, token

OTHER = "https://other.example"
TRUSTED = Issuer(
    ISSUER,
    frozenset({US, "chain-cli"}),
    frozenset(),
    frozenset({"RS256", "PS256", "ES256", "ES384", "EdDSA"}),
)
LISTED = Issuer(ISSUER, TRUSTED.audiences, frozenset({"portal"}), TRUSTED.algorithms)
STRAY = [  # keys of the set that no token may be signed with
    public("rsa-twice"),
    public("rsa-twice", n=public("rsa-a")["n"]),
    public("enc", use="enc"),
    public("sign-only", key_ops=["sign"]),
    public("odd-ops", key_ops="verify"),
    public("leaked", d="AAAA"),
    public("es384-alone", alg="ES384"),
    {"kty": "oct", "k": "AAAA", "kid": "secret"},
    {"kty": "LWE", "kid": "future"},
    {"kty": "EC", "crv": "P-256", "x": "AA", "kid": "broken"},
    {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "kid": "zero"},
]
SOUND = [public(one) for one in ("a", "rsa-a", "ed-a", "p384-a", "weak")]
SET = json.dumps({"keys": [*SOUND, *STRAY]}).encode()
KEYS = parse(SET)

GOOD = token()
SAID = claims()
F = Fault
CASES: list[tuple[Fault, str, str]] = [
    (F.OIDC_HEADER, token(crit=["exp"]), GOOD),
    (F.OIDC_HEADER, token(b64=False), GOOD),
    (F.OIDC_HEADER, token(jku="https://evil.example/keys"), token(x5t="AA")),
    (F.OIDC_HEADER, token(SAID, "evil", kid="a", jwk=public("evil")), GOOD),
    (F.OIDC_HEADER, token(x5u="https://evil.example/cert"), GOOD),
    (F.OIDC_HEADER, token(x5c=["AA"]), token(**{"x5t#S256": "AA"})),
    (F.OIDC_HEADER, token(cty="JWT"), GOOD),
    (F.OIDC_HEADER, token(zip="DEF"), GOOD),
    (F.OIDC_HEADER, token(nonce="n"), GOOD),
    (F.OIDC_TYP, token(typ="aat+jwt"), token(typ="at+jwt")),
    (F.OIDC_TYP, token(typ="logout+jwt"), token(typ="application/at+jwt")),
    (F.OIDC_TYP, token(typ="secevent+jwt"), token(typ="jwt")),
    (F.OIDC_TYP, token(typ="dpop+jwt"), token(typ=None)),
    (F.OIDC_TYP, token(typ=["JWT"]), token(typ="AT+JWT")),
    (F.OIDC_TYP, token(typ=""), GOOD),
    (F.OIDC_ALG, token(alg="none"), GOOD),
    (F.OIDC_ALG, token(alg="HS256"), GOOD),
    (F.OIDC_ALG, token(alg="es256"), GOOD),
    (F.OIDC_ALG, token(alg=None), GOOD),
    (F.OIDC_ALG, token(alg=["ES256"]), GOOD),
    (F.OIDC_ALG, token(SAID, "rsa-a", alg="RS512"), token(SAID, "rsa-a", alg="RS256")),
    (F.JWT_KID_MISSING, token(kid=None), GOOD),
    (F.JWT_KID_MISSING, token(kid=""), GOOD),
    (F.JWT_KID_MISSING, token(kid=["a"]), GOOD),
    (F.OIDC_KEY_UNKNOWN, token(kid="b"), GOOD),
    (F.OIDC_KEY_UNKNOWN, token(kid="A"), GOOD),
    (F.OIDC_KEY_UNKNOWN, token(SAID, "svid"), GOOD),  # a key that only a bundle for JWT-SVIDs has
    (F.OIDC_KEY_AMBIGUOUS, token(SAID, "rsa-twice", alg="RS256"), token(SAID, "rsa-a", alg="RS256")),
    (F.JWT_KEY_UNFIT, token(SAID, "enc"), GOOD),
    (F.JWT_KEY_UNFIT, token(SAID, "sign-only"), GOOD),
    (F.JWT_KEY_UNFIT, token(SAID, "odd-ops"), GOOD),
    (F.JWT_KEY_UNFIT, token(SAID, "leaked"), GOOD),
    (F.JWT_KEY_UNFIT, token(SAID, "es384-alone"), GOOD),
    (F.JWT_KEY_UNFIT, token(SAID, "weak", alg="RS256"), token(SAID, "rsa-a", alg="PS256")),
    (F.JWT_KEY_UNFIT, token(SAID, "a", kid="rsa-a"), token(SAID, "rsa-a", alg="RS256")),
    (F.JWT_KEY_UNFIT, token(SAID, "rsa-a", alg="RS256", kid="a"), token(SAID, "rsa-a", alg="RS256")),
    (F.JWT_KEY_UNFIT, token(SAID, "a", kid="p384-a"), token(SAID, "p384-a", alg="ES384")),
    (F.JWT_KEY_UNFIT, token(SAID, "a", kid="ed-a"), token(SAID, "ed-a", alg="EdDSA")),
    (F.JWT_KEY_UNFIT, token(SAID, "ed-a", alg="EdDSA", kid="a"), token(SAID, "ed-a", alg="EdDSA")),
    (F.JWT_KEY_UNFIT, token(SAID, "ed-a", alg="EdDSA", kid="zero"), token(SAID, "ed-a", alg="EdDSA")),
    (F.JWT_KEY_UNFIT, token(kid="secret"), GOOD),
    (F.JWT_KEY_UNFIT, token(kid="future"), GOOD),
    (F.JWT_KEY_UNFIT, token(kid="broken"), GOOD),
    (F.JWT_SIGNATURE, token(SAID, "evil", kid="a"), GOOD),  # another issuer's key under a name of this one's
    (F.JWT_SIGNATURE, token(SAID, "ed-b", alg="EdDSA", kid="ed-a"), token(SAID, "ed-a", alg="EdDSA")),
    (F.JWT_SIGNATURE, GOOD[: GOOD.rindex(".") + 1], GOOD),
    (F.JWT_SIGNATURE, token(SAID, "rsa-b", alg="PS256", kid="rsa-a"), token(SAID, "rsa-a", alg="PS256")),
    (F.OIDC_ISSUER_MISSING, token(claims(iss=None)), GOOD),
    (F.OIDC_ISSUER_MISSING, token(claims(iss=[ISSUER])), GOOD),
    (F.OIDC_ISSUER_MISSING, token(claims(iss="")), GOOD),
    (F.OIDC_ISSUER_UNKNOWN, token(claims(iss=ISSUER + "/")), GOOD),
    (F.OIDC_ISSUER_UNKNOWN, token(claims(iss=ISSUER.upper())), GOOD),
    (F.OIDC_ISSUER_UNKNOWN, token(claims(iss=OTHER)), GOOD),
    (F.OIDC_EVENT, token(claims(events={"http://schemas.openid.net/event/backchannel-logout": {}})), GOOD),
    (F.OIDC_BOUND, token(claims(cnf={"jkt": "AA"})), GOOD),
    (F.OIDC_BOUND, token({**SAID, "cnf": None}), GOOD),
    (F.OIDC_ACTOR, token(claims(act={"sub": "agent"})), token(claims(may_act={"sub": "agent"}))),
    (F.OIDC_SUBJECT, token(claims(sub=None)), GOOD),
    (F.OIDC_SUBJECT, token(claims(sub="")), GOOD),
    (F.OIDC_SUBJECT, token(claims(sub=7)), GOOD),
    (F.OIDC_SUBJECT, token(claims(sub="d\nana")), token(claims(sub="d ana#1"))),
    (F.OIDC_SUBJECT, token(claims(sub="dаna")), GOOD),  # noqa: RUF001 - a Cyrillic letter
    (F.OIDC_SUBJECT, token(claims(sub="d" * 256)), token(claims(sub="d" * 255))),
    (F.JWT_AUD_MISSING, token(claims(aud=None)), GOOD),
    (F.JWT_AUD_MISSING, token(claims(aud=[])), token(claims(aud=[US]))),
    (F.JWT_AUD_MISSING, token(claims(aud=[US, 7], azp=US)), token(claims(aud=[US, "x"], azp=US))),
    (F.JWT_AUD_MISSING, token(claims(aud=[[US]])), token(claims(aud=[US]))),
    (F.JWT_AUD_MISSING, token(claims(aud={US: 1})), GOOD),
    (F.JWT_AUD_MISMATCH, token(claims(aud=OTHER)), GOOD),
    (F.JWT_AUD_MISMATCH, token(claims(aud=US + "/")), GOOD),
    (F.JWT_AUD_MISMATCH, token(claims(aud=f"{US} {OTHER}")), token(claims(aud="chain-cli"))),
    (F.OIDC_PARTY_MISSING, token(claims(aud=[US, OTHER])), token(claims(aud=[US, US]))),
    (F.OIDC_PARTY_MISMATCH, token(claims(aud=[US, OTHER], azp=OTHER)), token(claims(aud=[US, OTHER], azp="chain-cli"))),
    (F.OIDC_PARTY_MISMATCH, token(claims(aud=[US, OTHER], azp=[US])), token(claims(aud=[US, OTHER], client_id=US))),
    (F.OIDC_PARTY_MISMATCH, token(claims(aud=[US, OTHER], azp=US, client_id="x")), token(claims(azp="x"))),
    (F.OIDC_IAT_MISSING, token(claims(iat=None)), GOOD),
    (F.JWT_EXP_MISSING, token(claims(exp=None)), GOOD),
    (F.JWT_TIME_MALFORMED, token(claims(exp=NOW + 300.5)), GOOD),
    (F.JWT_TIME_MALFORMED, token(claims(exp=str(NOW + 300))), GOOD),
    (F.JWT_TIME_MALFORMED, token(claims(iat=True)), GOOD),
    (F.JWT_TIME_MALFORMED, token(claims(nbf="0")), token(claims(nbf=0))),
    (F.JWT_EXPIRED, token(claims(exp=NOW)), token(claims(exp=NOW + 1))),
    (F.JWT_NOT_YET_VALID, token(claims(nbf=NOW + 31)), token(claims(nbf=NOW + 30))),
    (F.JWT_NOT_YET_VALID, token(claims(iat=NOW + 31)), token(claims(iat=NOW + 30))),
    (F.JWT_LIFETIME, token(claims(exp=NOW + 86401)), token(claims(exp=NOW + 86400))),
    (F.JWT_LIFETIME, token(claims(iat=NOW - 86400)), token(claims(iat=NOW - 86100))),
    (F.JWT_TOO_LONG, token(claims(more="x" * 8192)), token(claims(more="x" * 4096))),
    (F.JWT_TOO_LONG, token(more="x" * 1024), token(more="x" * 512)),
    (F.JWT_MALFORMED, GOOD + "=", GOOD),
    (F.JWT_MALFORMED, GOOD + ".x", GOOD),
    (F.JWT_MALFORMED, "é" + GOOD, GOOD),
    (F.JWT_MALFORMED, signed('{"alg":"ES256","kid":"a","kid":"a"}', json.dumps(SAID)), GOOD),
    (F.JWT_MALFORMED, signed('{"alg":"ES256","kid":"a"}', json.dumps(SAID)[:-1] + f', "aud": "{US}"}}'), GOOD),
    (F.JWT_MALFORMED, signed('{"alg":"ES256","kid":"a"}', json.dumps([SAID])), GOOD),
    (F.JWT_MALFORMED, signed('{"alg":"ES256","kid":"a"}', json.dumps(SAID)[:-1] + ', "x": {"y": 1, "y": 2}}'), GOOD),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "bad", "twin"), CASES)
def test_what_is_wrong_is_refused_with_its_code(fault: Fault, bad: str, twin: str) -> None:
    with pytest.raises(IdentityError) as refused:
        verify(bad, TRUSTED, KEYS, NOW)
    assert refused.value.fault is fault
    assert bad not in str(refused.value)
    assert verify(twin, TRUSTED, KEYS, NOW).issuer == ISSUER


def test_a_person_is_issuer_and_subject_and_shows_no_claims() -> None:
    found = verify(token(claims(email="dana@example.org")), TRUSTED, KEYS, NOW)
    assert (found.issuer, found.subject, found.until) == (ISSUER, "dana", NOW + 300)
    assert found.name == f"{ISSUER}#dana"
    assert "example.org" not in repr(found)
    with pytest.raises(TypeError):
        found.claims["sub"] = "other"  # type: ignore[index]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"azp": "portal"}, None),
        ({"client_id": "portal"}, None),
        ({"aud": [US, OTHER], "azp": "portal"}, None),
        ({}, Fault.OIDC_PARTY_MISSING),
        ({"azp": US}, Fault.OIDC_PARTY_MISMATCH),
        ({"azp": "portal", "client_id": "game"}, Fault.OIDC_PARTY_MISMATCH),
    ],
)
def test_where_clients_are_listed_a_token_was_made_for_one_of_them(said: dict[str, Any], fault: Fault | None) -> None:
    if fault is None:
        assert verify(token(claims(**said)), LISTED, KEYS, NOW).subject == "dana"
        return
    with pytest.raises(IdentityError) as refused:
        verify(token(claims(**said)), LISTED, KEYS, NOW)
    assert refused.value.fault is fault


def test_a_token_without_a_key_name_is_the_only_keys() -> None:
    alone = parse(json.dumps({"keys": [public("a", kid=None), public("enc", use="enc")]}).encode())
    assert verify(token(kid=None), TRUSTED, alone, NOW).subject == "dana"
    with pytest.raises(IdentityError, match="jwt_signature"):
        verify(token(SAID, "b", kid=None), TRUSTED, alone, NOW)
    with pytest.raises(IdentityError, match="oidc_key_unknown"):
        verify(token(), TRUSTED, alone, NOW)
    with pytest.raises(IdentityError, match="jwt_kid_missing"):
        verify(token(kid=None), TRUSTED, parse(jwks("a", "b")), NOW)


def test_any_changed_sign_is_refused() -> None:
    for at in range(len(GOOD)):
        other = "A" if GOOD[at] != "A" else "B"
        with pytest.raises(IdentityError):
            verify(GOOD[:at] + other + GOOD[at + 1 :], TRUSTED, KEYS, NOW)


class Fixed:
    """Keys that the test changes."""

    def __init__(self, *names: str) -> None:
        self.now: KeySet | None = parse(jwks(*names))
        self.ready: Future[None] | None = None
        self.asked, self.closed = 0, False

    def current(self) -> KeySet | None:
        return self.now

    def coming(self) -> Future[None] | None:
        self.asked += 1
        return self.ready

    def close(self) -> None:
        self.closed = True


def people(*sources: tuple[Issuer, Fixed], now: float = NOW) -> People:
    return People(sources, lambda: now)  # type: ignore[arg-type]


def test_each_issuer_has_keys_of_its_own() -> None:
    other = Issuer(OTHER, TRUSTED.audiences, frozenset(), TRUSTED.algorithms)
    both = people((TRUSTED, Fixed("a")), (other, Fixed("b")))
    assert both.person(token()).issuer == ISSUER
    assert both.person(token(claims(iss=OTHER), "b")).issuer == OTHER
    for forged, fault in (
        (token(SAID, "b"), "oidc_key_unknown"),
        (token(SAID, "b", kid="a"), "jwt_signature"),
        (token(claims(iss=OTHER), "a"), "oidc_key_unknown"),
        (token(claims(iss=OTHER), "a", kid="b"), "jwt_signature"),
    ):
        with pytest.raises(IdentityError, match=fault):
            both.person(forged)


def test_a_remembered_token_ends_with_its_time_its_key_and_its_keys() -> None:
    source, now = Fixed("a"), [float(NOW)]
    known = People([(TRUSTED, source)], lambda: now[0])  # type: ignore[list-item]
    assert known.person(GOOD) is known.person(GOOD)
    now[0] = NOW + 300
    with pytest.raises(IdentityError, match="jwt_expired"):
        known.person(GOOD)
    now[0] = NOW
    kept, source.now = source.now, parse(jwks("b"))
    with pytest.raises(IdentityError, match="oidc_key_unknown"):
        known.person(GOOD)
    source.now = None
    with pytest.raises(IdentityError, match="oidc_keys_unavailable"):
        known.person(GOOD)
    source.now = kept
    assert known.person(GOOD).subject == "dana"
    known.close()
    assert source.closed


def test_what_can_be_mended_by_waiting_says_for_what() -> None:
    source = Fixed("a")
    source.ready = Future()
    known = people((TRUSTED, source))
    with pytest.raises(NotYetError, match="oidc_key_unknown") as refused:
        known.person(token(SAID, "b"))
    assert refused.value.ready is source.ready
    source.now = None
    with pytest.raises(NotYetError, match="oidc_keys_unavailable"):
        known.person(GOOD)
    source.now = parse(jwks("a"))
    asked = source.asked
    for bad in (token(SAID, "evil", kid="a"), token(alg="none"), token(claims(exp=NOW)), token(claims(iss=OTHER))):
        with pytest.raises(IdentityError):
            known.person(bad)
    assert source.asked == asked == 2  # what no new key could mend asks for none


def test_only_so_many_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.identity.oidc.REMEMBERED", 2)
    known = people((TRUSTED, Fixed("a")))
    for number in range(5):
        assert known.person(token(claims(sub=str(number)))).subject == str(number)
    assert len(known._known._young) + len(known._known._old) == 2


def test_which_verifier_a_token_is_for() -> None:
    known = people((TRUSTED, Fixed("a")))
    svid = "spiffe://a.test/x"
    assert known.takes(GOOD)
    assert known.takes(token(claims(sub=svid)))  # of an issuer of ours: never tried as an SVID
    assert known.takes(token(claims(iss=OTHER)))
    assert known.takes(token(claims(iss=None)))
    assert not known.takes(token(claims(iss=None, sub=svid)))
    assert not known.takes(token(claims(iss=OTHER, sub=svid)))
    assert not known.takes("no.token.at-all")
    known.person(GOOD)
    assert known.takes(GOOD)


def test_a_persons_token_is_no_svid_and_an_svid_no_persons() -> None:
    bundles = {"a.test": TrustBundle("a.test", jwt_keys={"a": public("a"), "svid": public("svid")})}
    workload = token(claims(iss=None, sub="spiffe://a.test/x"), "svid")
    assert verify_svid(workload, bundles, [US], NOW).id == "spiffe://a.test/x"
    with pytest.raises(IdentityError, match="oidc_issuer_missing"):
        verify(workload, TRUSTED, KEYS, NOW)
    with pytest.raises(IdentityError, match="id_scheme"):
        verify_svid(GOOD, bundles, [US], NOW)


BAD_SETS = [
    (b"", "strict JSON"),
    (b"[]", "no JWK set"),
    (b'{"keys": {}}', "no JWK set"),
    (b'{"keys": ["a"]}', "no JWK set"),
    (b'{"keys": [], "keys": []}', "duplicate"),
    (b'{"keys": [{"kid": "a", "kid": "b"}]}', "duplicate"),
    (json.dumps({"keys": [{}] * 101}).encode(), "more than 100 keys"),
    (b'{"keys": [], "x": "' + b"x" * (256 * 1024) + b'"}', "more than 262144 bytes"),
]


@pytest.mark.parametrize(("data", "said"), BAD_SETS)
def test_what_is_no_key_set_is_refused_whole(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(data)
    assert parse(jwks("a")).find("a")["kid"] == "a"
    assert len(BAD_SETS) == 8


def test_a_set_without_keys_is_one_that_lets_nobody_in() -> None:
    assert parse(b'{"keys": []}') == KeySet({}, ())
    assert jwks_module.MAX_KEYS == 100
