"""JWT-SVIDs: each way to be wrong has its code, and the same token made right is accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm, get_default_algorithms

from chain.base64url import b64encode
from chain.identity.fault import Fault, IdentityError
from chain.identity.jwtsvid import JwtVerifier, verify
from chain.identity.material import Material, TrustBundle
from chain.peer import Workload

NOW, US, ALICE = 1_800_000_000.0, "spiffe://a.test/chain", "spiffe://a.test/agents/alice"
KEYS: dict[str, Any] = {
    "a": ec.generate_private_key(ec.SECP256R1()),
    "b": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
    "weak": rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is there to be refused
}


def jwk(name: str) -> dict[str, Any]:
    public = KEYS[name].public_key()
    to = ECAlgorithm if isinstance(KEYS[name], ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return json.loads(to.to_jwk(public))


BUNDLES = {
    "a.test": TrustBundle("a.test", jwt_keys={one: jwk(one) for one in ("a", "rsa", "weak")}),
    "b.test": TrustBundle("b.test", jwt_keys={"b": jwk("b")}),
    "empty.test": TrustBundle("empty.test"),
}
HEADER = {"alg": "ES256", "kid": "a", "typ": "JWT"}
CLAIMS = {"sub": ALICE, "aud": [US], "iat": int(NOW), "exp": int(NOW) + 300}


def minted(header: dict[str, Any], claims: dict[str, Any], key: str = "a") -> str:
    """Sign; a member that is None is left out."""
    said, claimed = ({k: v for k, v in one.items() if v is not None} for one in (header, claims))
    return signed(json.dumps(said), json.dumps(claimed), key, header["alg"])


def signed(header: str, claims: str, key: str = "a", alg: Any = "ES256") -> str:
    text = f"{b64encode(header.encode())}.{b64encode(claims.encode())}"
    known = get_default_algorithms()
    fits = alg if isinstance(alg, str) and alg[:2] in {"RS", "PS", "ES"} else "ES256"
    return f"{text}.{b64encode(known[fits].sign(text.encode(), KEYS[key]))}"


CASES: list[tuple[Fault, dict[str, Any], dict[str, Any], str]] = [
    (Fault.JWT_HEADER_UNKNOWN, {"crit": ["exp"]}, {}, "a"),
    (Fault.JWT_HEADER_UNKNOWN, {"jku": "https://evil.test"}, {}, "a"),
    (Fault.JWT_HEADER_UNKNOWN, {"jwk": jwk("b")}, {}, "b"),
    (Fault.JWT_HEADER_UNKNOWN, {"x5c": ["AA"]}, {}, "a"),
    (Fault.JWT_ALG, {"alg": "none"}, {}, "a"),
    (Fault.JWT_ALG, {"alg": "HS256"}, {}, "a"),
    (Fault.JWT_ALG, {"alg": "EdDSA"}, {}, "a"),
    (Fault.JWT_ALG, {"alg": ["ES256"]}, {}, "a"),
    (Fault.JWT_TYP, {"typ": "at+jwt"}, {}, "a"),
    (Fault.JWT_TYP, {"typ": ["JWT"]}, {}, "a"),
    (Fault.JWT_KID_MISSING, {"kid": None}, {}, "a"),
    (Fault.JWT_KID_MISSING, {"kid": ""}, {}, "a"),
    (Fault.JWT_KID_UNKNOWN, {"kid": "other"}, {}, "a"),
    (Fault.JWT_KID_UNKNOWN, {"kid": "b"}, {}, "b"),  # another trusted domain's key signs an id of ours
    (Fault.JWT_SIGNATURE, {}, {}, "b"),
    (Fault.JWT_KEY_UNFIT, {"alg": "RS256"}, {}, "rsa"),
    (Fault.JWT_KEY_UNFIT, {"alg": "RS256", "kid": "weak"}, {}, "weak"),
    (Fault.JWT_KEY_UNFIT, {"kid": "rsa"}, {}, "a"),
    (Fault.JWT_SUB_MISSING, {}, {"sub": None}, "a"),
    (Fault.JWT_SUB_MISSING, {}, {"sub": 1}, "a"),
    (Fault.ID_SCHEME, {}, {"sub": "https://a.test/x"}, "a"),
    (Fault.ID_SCHEME, {}, {"sub": "SPIFFE://a.test/x"}, "a"),
    (Fault.ID_TRUST_DOMAIN, {}, {"sub": "spiffe://A.test/x"}, "a"),
    (Fault.ID_TRUST_DOMAIN, {}, {"sub": "spiffe://a.test:443/x"}, "a"),
    (Fault.ID_TRUST_DOMAIN, {}, {"sub": "spiffe://u@a.test/x"}, "a"),
    (Fault.ID_PATH_MISSING, {}, {"sub": "spiffe://a.test"}, "a"),
    (Fault.ID_PATH, {}, {"sub": "spiffe://a.test/"}, "a"),
    (Fault.ID_PATH, {}, {"sub": "spiffe://a.test/x/../y"}, "a"),
    (Fault.ID_PATH, {}, {"sub": "spiffe://a.test/x%2f"}, "a"),
    (Fault.ID_PATH, {}, {"sub": "spiffe://a.test/x?y"}, "a"),
    (Fault.ID_TOO_LONG, {}, {"sub": "spiffe://a.test/" + "x" * 2048}, "a"),
    (Fault.JWT_DOMAIN_UNTRUSTED, {}, {"sub": "spiffe://c.test/x"}, "a"),
    (Fault.JWT_DOMAIN_UNTRUSTED, {}, {"sub": "spiffe://empty.test/x"}, "a"),
    (Fault.JWT_AUD_MISSING, {}, {"aud": None}, "a"),
    (Fault.JWT_AUD_MISSING, {}, {"aud": []}, "a"),
    (Fault.JWT_AUD_MISSING, {}, {"aud": [US, 1]}, "a"),
    (Fault.JWT_AUD_MISMATCH, {}, {"aud": "spiffe://a.test/other"}, "a"),
    (Fault.JWT_EXP_MISSING, {}, {"exp": None}, "a"),
    (Fault.JWT_TIME_MALFORMED, {}, {"exp": NOW + 300.5}, "a"),
    (Fault.JWT_TIME_MALFORMED, {}, {"iat": True}, "a"),
    (Fault.JWT_EXPIRED, {}, {"exp": int(NOW)}, "a"),
    (Fault.JWT_NOT_YET_VALID, {}, {"nbf": int(NOW) + 31}, "a"),
    (Fault.JWT_NOT_YET_VALID, {}, {"iat": int(NOW) + 31}, "a"),
    (Fault.JWT_LIFETIME, {}, {"exp": int(NOW) + 86401}, "a"),
    (Fault.JWT_TOO_LONG, {}, {"more": "x" * 8192}, "a"),
]
GOOD = minted(HEADER, CLAIMS)
RAW = [
    GOOD + "=",
    GOOD + ".x",
    GOOD.replace(".", "", 1),
    "é" + GOOD,
    signed(json.dumps(HEADER), json.dumps(CLAIMS)[:-1] + f', "sub": "{ALICE}"}}'),
    signed('{"alg": "ES256", "alg": "ES256", "kid": "a"}', json.dumps(CLAIMS)),
    signed(json.dumps(HEADER), "[]"),
    signed(json.dumps(HEADER), json.dumps(CLAIMS)[:-1] + ', "n": NaN}'),
]


def test_the_table_is_whole() -> None:
    assert len(CASES) == 45
    assert len(RAW) == 8
    reached = {case[0] for case in CASES} | {Fault.JWT_MALFORMED}
    assert reached >= {one for one in Fault if one.startswith(("jwt_", "id_"))}


@pytest.mark.parametrize(("fault", "header", "claims", "key"), CASES)
def test_what_is_wrong_is_refused_with_its_code(fault: Fault, header: Any, claims: Any, key: str) -> None:
    token = minted({**HEADER, **header}, {**CLAIMS, **claims}, key)
    with pytest.raises(IdentityError) as refused:
        verify(token, BUNDLES, [US], NOW)
    assert refused.value.fault is fault
    assert token not in str(refused.value)
    assert verify(GOOD, BUNDLES, [US], NOW) == Workload(ALICE, NOW + 300)


@pytest.mark.parametrize("token", RAW)
def test_what_is_no_strict_token_is_malformed(token: str) -> None:
    with pytest.raises(IdentityError) as refused:
        verify(token, BUNDLES, [US], NOW)
    assert refused.value.fault is Fault.JWT_MALFORMED
    assert verify(GOOD, BUNDLES, [US], NOW).id == ALICE


@pytest.mark.parametrize(
    ("header", "claims", "key"),
    [
        ({"typ": None}, {}, "a"),
        ({"typ": "JOSE"}, {"aud": US}, "a"),
        ({"alg": "RS256", "kid": "rsa"}, {"iat": None}, "rsa"),
        ({"alg": "PS512", "kid": "rsa"}, {"nbf": int(NOW) + 30}, "rsa"),
        ({"kid": "b"}, {"sub": "spiffe://b.test/x"}, "b"),
        ({}, {"exp": int(NOW) + 86400, "aud": ["other", US]}, "a"),
    ],
)
def test_what_the_profile_allows_is_accepted(header: Any, claims: Any, key: str) -> None:
    claims = {**CLAIMS, **claims}
    found = verify(minted({**HEADER, **header}, claims, key), BUNDLES, [US], NOW)
    assert found == Workload(claims["sub"], claims["exp"])
    assert not found.proven


def test_without_an_audience_of_ours_nobody_is_known() -> None:
    with pytest.raises(IdentityError, match="jwt_aud_mismatch"):
        verify(GOOD, BUNDLES, [], NOW)
    assert verify(GOOD, BUNDLES, ["https://else.example", US], NOW).id == ALICE


def test_any_changed_sign_is_refused() -> None:
    for at in range(len(GOOD)):
        other = "A" if GOOD[at] != "A" else "B"
        with pytest.raises(IdentityError):
            verify(GOOD[:at] + other + GOOD[at + 1 :], BUNDLES, [US], NOW)


class Held:
    def __init__(self) -> None:
        self.material = Material(None, BUNDLES, 1)

    def current(self) -> Material:
        return self.material

    def close(self) -> None: ...


def test_a_remembered_token_ends_with_its_time_and_with_its_key() -> None:
    held, now = Held(), [NOW]
    verifier = JwtVerifier(held, [US], lambda: now[0])
    assert verifier.verify(GOOD) is verifier.verify(GOOD)
    now[0] = NOW + 300
    with pytest.raises(IdentityError, match="jwt_expired"):
        verifier.verify(GOOD)
    now[0] = NOW
    emptied = {**BUNDLES, "a.test": TrustBundle("a.test")}
    held.material = replace(held.material, bundles=emptied, version=2)
    with pytest.raises(IdentityError, match="jwt_domain_untrusted"):
        verifier.verify(GOOD)
