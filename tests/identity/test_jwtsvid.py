"""JWT-SVIDs: each way to be wrong has its code, and the same token made right is accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm, get_default_algorithms

from chain.base64url import b64decode, b64encode
from chain.identity.fault import Fault, IdentityError
from chain.identity.jwtsvid import JwtVerifier, verify
from chain.identity.material import Material, TrustBundle
from chain.peer import Workload
from tests.identity.certificates import ALICE, NOW
from tests.identity.strict_ids import IDS, LONG

ALGORITHMS = get_default_algorithms()
US = "spiffe://a.test/chain"
KEYS: dict[str, Any] = {
    "a": ec.generate_private_key(ec.SECP256R1()),
    "b": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
    "weak": rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is there to be refused
    "p384": ec.generate_private_key(ec.SECP384R1()),
}


def jwk(name: str) -> dict[str, Any]:
    public = KEYS[name].public_key()
    to = ECAlgorithm if isinstance(KEYS[name], ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return json.loads(to.to_jwk(public))


BUNDLES = {
    "a.test": TrustBundle("a.test", jwt_keys={one: jwk(one) for one in ("a", "rsa", "weak", "p384")}),
    "b.test": TrustBundle("b.test", jwt_keys={"b": jwk("b")}),
    "empty.test": TrustBundle("empty.test"),
    LONG: TrustBundle(LONG, jwt_keys={"a": jwk("a")}),
}
HEADER = {"alg": "ES256", "kid": "a", "typ": "JWT"}
AT = int(NOW)
CLAIMS = {"sub": ALICE, "aud": [US], "iat": AT, "exp": AT + 300}


def minted(header: dict[str, Any], claims: dict[str, Any], key: str = "a") -> str:
    """Sign; a member that is None is left out."""
    first, second = ({k: v for k, v in one.items() if v is not None} for one in (header, claims))
    return signed(json.dumps(first), json.dumps(second), key, header["alg"])


def signed(header: str, claims: str, key: str = "a", alg: Any = "ES256") -> str:
    text = f"{b64encode(header.encode())}.{b64encode(claims.encode())}"
    fits = alg if isinstance(alg, str) and alg[:2] in {"RS", "PS", "ES"} else "ES256"
    return f"{text}.{b64encode(ALGORITHMS[fits].sign(text.encode(), KEYS[key]))}"


Case = tuple[Fault, str, str]
"""A code, what is refused with it, and its twin: the same but for the one thing."""


def said(fault: Fault, wrong: dict[str, Any], right: dict[str, Any], key: str = "a") -> Case:
    """Two headers, each with one thing said otherwise than in a good one."""
    return fault, minted({**HEADER, **wrong}, CLAIMS, key), minted({**HEADER, **right}, CLAIMS, key)


def claimed(fault: Fault, wrong: dict[str, Any], right: dict[str, Any]) -> Case:
    """Two sets of claims, each with one thing said otherwise than in a good one."""
    return fault, minted(HEADER, {**CLAIMS, **wrong}), minted(HEADER, {**CLAIMS, **right})


GOOD = minted(HEADER, CLAIMS)
HEADERS: list[Case] = [
    said(Fault.JWT_HEADER_UNKNOWN, {"crit": ["exp"]}, {}),
    said(Fault.JWT_HEADER_UNKNOWN, {"jku": "https://evil.test"}, {}),
    said(Fault.JWT_HEADER_UNKNOWN, {"x5c": ["AA"]}, {}),
    said(Fault.JWT_HEADER_UNKNOWN, {"b64": True}, {}),
    (Fault.JWT_HEADER_UNKNOWN, minted({**HEADER, "jwk": jwk("b")}, CLAIMS, "b"), GOOD),
    said(Fault.JWT_ALG, {"alg": "none"}, {"alg": "ES256"}),
    said(Fault.JWT_ALG, {"alg": "HS256"}, {"alg": "ES256"}),
    said(Fault.JWT_ALG, {"alg": "EdDSA"}, {"alg": "ES256"}),
    said(Fault.JWT_ALG, {"alg": "es256"}, {"alg": "ES256"}),
    said(Fault.JWT_ALG, {"alg": ["ES256"]}, {"alg": "ES256"}),
    said(Fault.JWT_TYP, {"typ": "at+jwt"}, {"typ": "JWT"}),
    said(Fault.JWT_TYP, {"typ": ["JWT"]}, {"typ": "JOSE"}),
    said(Fault.JWT_TYP, {"typ": "jwt"}, {"typ": None}),
    said(Fault.JWT_KID_MISSING, {"kid": None}, {"kid": "a"}),
    said(Fault.JWT_KID_MISSING, {"kid": ""}, {"kid": "a"}),
    said(Fault.JWT_KID_MISSING, {"kid": 1}, {"kid": "a"}),
    said(Fault.JWT_KID_UNKNOWN, {"kid": "other"}, {"kid": "a"}),
    # Another trusted domain's key signs an id of ours, and one of its own.
    (
        Fault.JWT_KID_UNKNOWN,
        minted({**HEADER, "kid": "b"}, CLAIMS, "b"),
        minted({**HEADER, "kid": "b"}, {**CLAIMS, "sub": "spiffe://b.test/x"}, "b"),
    ),
    (Fault.JWT_SIGNATURE, minted(HEADER, CLAIMS, "b"), GOOD),
    (Fault.JWT_SIGNATURE, f"{GOOD.rpartition('.')[0]}.", GOOD),
    (
        Fault.JWT_SIGNATURE,
        ".".join((GOOD.split(".")[0], minted(HEADER, {**CLAIMS, "sub": US}).split(".")[1], GOOD.split(".")[2])),
        minted(HEADER, {**CLAIMS, "sub": US}),
    ),
    said(Fault.JWT_KEY_UNFIT, {"alg": "RS256"}, {"alg": "RS256", "kid": "rsa"}, "rsa"),
    said(Fault.JWT_KEY_UNFIT, {"alg": "ES256", "kid": "p384"}, {"alg": "ES384", "kid": "p384"}, "p384"),
    (
        Fault.JWT_KEY_UNFIT,
        minted({**HEADER, "alg": "RS256", "kid": "weak"}, CLAIMS, "weak"),
        minted({**HEADER, "alg": "RS256", "kid": "rsa"}, CLAIMS, "rsa"),
    ),
    said(Fault.JWT_KEY_UNFIT, {"kid": "rsa"}, {"kid": "a"}),
]
CLAIMED: list[Case] = [
    claimed(Fault.JWT_SUB_MISSING, {"sub": None}, {"sub": ALICE}),
    claimed(Fault.JWT_SUB_MISSING, {"sub": 1}, {"sub": ALICE}),
    claimed(Fault.JWT_DOMAIN_UNTRUSTED, {"sub": "spiffe://c.test/x"}, {"sub": "spiffe://a.test/x"}),
    claimed(Fault.JWT_DOMAIN_UNTRUSTED, {"sub": "spiffe://empty.test/x"}, {"sub": "spiffe://a.test/x"}),
    claimed(Fault.JWT_AUD_MISSING, {"aud": None}, {"aud": US}),
    claimed(Fault.JWT_AUD_MISSING, {"aud": []}, {"aud": [US]}),
    claimed(Fault.JWT_AUD_MISSING, {"aud": ""}, {"aud": US}),
    claimed(Fault.JWT_AUD_MISSING, {"aud": [US, 1]}, {"aud": [US, "1"]}),
    claimed(Fault.JWT_AUD_MISMATCH, {"aud": "spiffe://a.test/other"}, {"aud": ["spiffe://a.test/other", US]}),
    claimed(Fault.JWT_AUD_MISMATCH, {"aud": f"{US}/"}, {"aud": US}),
    claimed(Fault.JWT_EXP_MISSING, {"exp": None}, {"exp": AT + 300}),
    claimed(Fault.JWT_TIME_MALFORMED, {"exp": AT + 300.5}, {"exp": AT + 300}),
    claimed(Fault.JWT_TIME_MALFORMED, {"exp": str(AT + 300)}, {"exp": AT + 300}),
    claimed(Fault.JWT_TIME_MALFORMED, {"iat": True}, {"iat": AT}),
    claimed(Fault.JWT_EXPIRED, {"exp": AT}, {"exp": AT + 1}),
    claimed(Fault.JWT_NOT_YET_VALID, {"nbf": AT + 31}, {"nbf": AT + 30}),
    claimed(Fault.JWT_NOT_YET_VALID, {"iat": AT + 31}, {"iat": AT + 30}),
    claimed(Fault.JWT_LIFETIME, {"exp": AT + 86401}, {"exp": AT + 86400}),
    claimed(Fault.JWT_TOO_LONG, {"more": "x" * 8192}, {"more": "x" * 5000}),
]
IDENTIFIED: list[Case] = [claimed(fault, {"sub": wrong}, {"sub": right}) for fault, wrong, right in IDS]
TWICE = f', "sub": "{ALICE}"}}'
FORMS: list[Case] = [
    (Fault.JWT_MALFORMED, wrong, GOOD)
    for wrong in (
        f"{GOOD}=",
        f"{GOOD}.x",
        GOOD.replace(".", "", 1),
        f"é{GOOD}",
        "",
        "..",
        signed(json.dumps(HEADER), json.dumps(CLAIMS)[:-1] + TWICE),
        signed('{"alg": "ES256", "alg": "ES256", "kid": "a"}', json.dumps(CLAIMS)),
        signed(json.dumps(HEADER), "[]"),
        signed("null", json.dumps(CLAIMS)),
        signed(json.dumps(HEADER), json.dumps(CLAIMS)[:-1] + ', "n": NaN}'),
    )
]
CASES = [*HEADERS, *CLAIMED, *IDENTIFIED, *FORMS]


def test_the_tables_are_whole() -> None:
    assert (len(HEADERS), len(CLAIMED), len(IDENTIFIED), len(FORMS)) == (25, 19, 21, 11)
    assert {case[0] for case in CASES} == {one for one in Fault if one.startswith(("jwt_", "id_"))}


@pytest.mark.parametrize(("fault", "wrong", "right"), CASES, ids=[f"{case[0]}-{at}" for at, case in enumerate(CASES)])
def test_what_is_wrong_is_refused_with_its_code_and_its_twin_is_not(fault: Fault, wrong: str, right: str) -> None:
    with pytest.raises(IdentityError) as refused:
        verify(wrong, BUNDLES, [US], NOW)
    assert refused.value.fault is fault
    assert not wrong or wrong not in str(refused.value)
    claims = json.loads(b64decode(right.split(".")[1].encode()))
    assert verify(right, BUNDLES, [US], NOW) == Workload(claims["sub"], claims["exp"])


@pytest.mark.parametrize(
    ("header", "claims", "key"),
    [
        ({"typ": None}, {}, "a"),
        ({"typ": "JOSE"}, {"aud": US}, "a"),
        ({"alg": "RS256", "kid": "rsa"}, {"iat": None}, "rsa"),
        ({"alg": "PS512", "kid": "rsa"}, {"nbf": AT + 30}, "rsa"),
        ({"kid": "b"}, {"sub": "spiffe://b.test/x"}, "b"),
        ({}, {"exp": AT + 86400, "aud": ["other", US]}, "a"),
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
