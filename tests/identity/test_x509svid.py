"""X.509-SVIDs: each way to be wrong has its code, and the same certificate made right is accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from chain.identity import bundle
from chain.identity.fault import Fault, IdentityError
from chain.identity.material import Material, TrustBundle
from chain.identity.x509svid import X509Verifier, verify
from tests.identity.certificates import ALICE, AUTHORITY, BOTH, NOW, Authority, Shown, armoured, der, p256, pem
from tests.identity.strict_ids import IDS, LONG


def curve(one: ec.EllipticCurve) -> Callable[[], Any]:
    return lambda: ec.generate_private_key(one)


def modulus(bits: int) -> Callable[[], Any]:
    """A public RSA key of some size: what is asked is the size, and nobody signs with it."""
    return rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) | 1).public_key


def rsa_pair(bits: int) -> Callable[[], Any]:
    return lambda: rsa.generate_private_key(65537, bits)


P384, P521 = curve(ec.SECP384R1()), curve(ec.SECP521R1())

A, B = Authority.root("a"), Authority.root("b")
BUNDLES = {
    "a.test": TrustBundle("a.test", (A.certificate,)),
    "b.test": TrustBundle("b.test", (B.certificate,)),
    "empty.test": TrustBundle("empty.test"),
    LONG: TrustBundle(LONG, (A.certificate,)),
}
GOOD = A.leaf()

Case = tuple[Fault, Shown, Shown]
"""A code, what is refused with it, and its twin: the same but for the one thing."""


def leaf(fault: Fault, wrong: dict[str, Any], right: dict[str, Any]) -> Case:
    return fault, A.leaf(**wrong), A.leaf(**right)


def named(more: bytes) -> dict[str, Any]:
    """A good id, and another name beside it, as bytes: nobody else would write them."""
    names = b"\x86" + bytes([len(ALICE)]) + ALICE.encode() + more
    return {"raw": b"\x30" + bytes([len(names)]) + names}


def dsa_key() -> Any:
    numbers = dsa.DSAParameterNumbers((1 << 2047) | 1, (1 << 255) | 1, 2)
    return dsa.DSAPublicNumbers(4, numbers).public_key()


OTHER, DIGITAL = "spiffe://a.test/bob", "digital_signature"
LEAVES: list[Case] = [
    leaf(Fault.SVID_URI_MISSING, {"uris": ()}, {"uris": (ALICE,)}),
    leaf(Fault.SVID_URI_MISSING, {"uris": (), "dns": ("a.test",)}, {"dns": ("a.test",)}),
    leaf(Fault.SVID_URI_MANY, {"uris": (ALICE, OTHER)}, {"uris": (OTHER,)}),
    leaf(Fault.SVID_URI_MANY, {"uris": (ALICE, "https://a.test/bob")}, {"dns": ("bob.a.test",)}),
    leaf(Fault.SVID_URI_MANY, {"uris": (ALICE, ALICE)}, {"uris": (ALICE,)}),
    leaf(Fault.SVID_IS_CA, {"ca": True}, {"ca": False}),
    leaf(Fault.SVID_KEY_USAGE_MISSING, {"usage": None}, {"usage": (DIGITAL,)}),
    leaf(Fault.SVID_KEY_USAGE_NOT_CRITICAL, {"critical": False}, {"critical": True}),
    leaf(Fault.SVID_NO_DIGITAL_SIGNATURE, {"usage": ("key_agreement",)}, {"usage": ("key_agreement", DIGITAL)}),
    leaf(Fault.SVID_SIGNS_CERTIFICATES, {"usage": (DIGITAL, "key_cert_sign")}, {"usage": (DIGITAL,)}),
    leaf(Fault.SVID_SIGNS_CRLS, {"usage": (DIGITAL, "crl_sign")}, {"usage": (DIGITAL, "key_encipherment")}),
    leaf(Fault.SVID_EXTENDED_KEY_USAGE, {"purposes": BOTH[:1]}, {"purposes": BOTH}),
    leaf(Fault.SVID_EXTENDED_KEY_USAGE, {"purposes": BOTH[1:]}, {"purposes": None}),
    leaf(Fault.SVID_NOT_YET_VALID, {"begin": NOW + 1}, {"begin": NOW}),
    leaf(Fault.SVID_EXPIRED, {"end": NOW}, {"end": NOW + 1}),
    leaf(Fault.SVID_DOMAIN_UNTRUSTED, {"uris": ("spiffe://c.test/x",)}, {"uris": ("spiffe://a.test/x",)}),
    leaf(Fault.SVID_DOMAIN_UNTRUSTED, {"uris": ("spiffe://empty.test/x",)}, {"uris": ("spiffe://a.test/x",)}),
    # A's authority signs an id of B: a union would take it
    leaf(Fault.SVID_PATH, {"uris": ("spiffe://b.test/x",)}, {"uris": ("spiffe://a.test/x",)}),
    leaf(Fault.SVID_EXTENSION_UNREADABLE, named(b"\x87\x03\x01\x02\x03"), named(b"\x87\x04\x01\x02\x03\x04")),
    leaf(Fault.SVID_EXTENSION_UNREADABLE, named(b"\xa3\x00"), named(b"\x82\x01a")),  # of a kind that nobody reads
    leaf(Fault.SVID_KEY_WEAK, {"key": modulus(1024)}, {"key": modulus(2048)}),
    leaf(Fault.SVID_KEY_WEAK, {"key": modulus(2047)}, {"key": modulus(4096)}),
    leaf(Fault.SVID_KEY_WEAK, {"key": rsa_pair(1024)}, {"key": rsa_pair(2048)}),
    leaf(Fault.SVID_KEY_WEAK, {"key": curve(ec.SECP224R1())}, {"key": p256}),
    leaf(Fault.SVID_KEY_WEAK, {"key": curve(ec.SECP256K1())}, {"key": P384}),
    leaf(Fault.SVID_KEY_WEAK, {"key": curve(ec.BrainpoolP512R1())}, {"key": P521}),
    leaf(Fault.SVID_KEY_WEAK, {"key": ed25519.Ed25519PrivateKey.generate}, {"key": p256}),  # no handshake takes it
    leaf(Fault.SVID_KEY_WEAK, {"key": ed448.Ed448PrivateKey.generate}, {"key": p256}),
    leaf(Fault.SVID_KEY_WEAK, {"key": dsa_key}, {"key": p256}),
]

IDENTIFIED: list[Case] = [leaf(fault, {"uris": (wrong,)}, {"uris": (right,)}) for fault, wrong, right in IDS]


def beneath(fault: Fault, wrong: dict[str, Any], right: dict[str, Any]) -> Case:
    """A good leaf under an intermediate that is wrong, or right."""
    made = []
    for wish in (wrong, right):
        above = A.beneath("middle", **wish)
        made.append(above.leaf(above.certificate))
    return fault, made[0], made[1]


def nested(path_length: int) -> Shown:
    """A leaf two intermediates below, the first of which says how many may follow."""
    first = A.beneath("first", path_length=path_length)
    second = first.beneath("second")
    return second.leaf(second.certificate, first.certificate)


def changed(shown: Shown, old: bytes, new: bytes) -> Shown:
    """The same certificate, but for some bytes of it."""
    before = der(shown)
    assert before.count(old) >= 1
    return replace(shown, chain=armoured(before.replace(old, new, 1)))


MIDDLE = A.beneath("middle")
SIGNED = der(GOOD)
KEY_TYPE = bytes.fromhex("06072a8648ce3d0201")  # id-ecPublicKey
PATHS: list[Case] = [
    (Fault.SVID_MISSING, Shown(b""), GOOD),
    (Fault.SVID_MALFORMED, Shown(armoured(b"\x00\x00\x00")), GOOD),
    (Fault.SVID_MALFORMED, Shown(armoured(SIGNED[:-1])), Shown(armoured(SIGNED))),
    (Fault.SVID_MALFORMED, changed(GOOD, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x08"), GOOD),  # version 9
    (Fault.SVID_TOO_MANY, A.leaf(*[MIDDLE.certificate] * 7), A.leaf(*[MIDDLE.certificate] * 6)),
    (Fault.SVID_KEY_WEAK, changed(GOOD, KEY_TYPE, KEY_TYPE[:-1] + b"\x7f"), GOOD),  # a kind of key that is unknown
    (Fault.SVID_PATH, Shown(armoured(SIGNED[:-1] + bytes([SIGNED[-1] ^ 1]))), Shown(armoured(SIGNED))),
    (Fault.SVID_PATH, B.leaf(), A.leaf()),  # B's authority signs an id of A
    (Fault.SVID_PATH, B.leaf(A.certificate), A.leaf(A.certificate)),
    (Fault.SVID_PATH, MIDDLE.leaf(), MIDDLE.leaf(MIDDLE.certificate)),  # the intermediate was not sent
    (Fault.SVID_PATH, nested(0), nested(1)),
    beneath(Fault.SVID_PATH, {"uris": ("spiffe://b.test",)}, {"uris": ("spiffe://a.test",)}),  # signs for A, and is B's
    beneath(Fault.SVID_PATH, {"begin": NOW - 99, "end": NOW - 1}, {"begin": NOW - 99, "end": NOW + 3600}),
    beneath(Fault.SVID_PATH, {"ca": False}, {"ca": True}),
    beneath(Fault.SVID_PATH, {"usage": ("digital_signature",)}, {"usage": ("key_cert_sign",)}),
    beneath(Fault.SVID_PATH, {"usage": None}, {"usage": ("key_cert_sign", "crl_sign")}),
    beneath(Fault.SVID_KEY_WEAK, {"key": curve(ec.SECP224R1())}, {"key": p256}),
    beneath(Fault.SVID_KEY_WEAK, {"key": curve(ec.SECP256K1())}, {"key": P384}),
    beneath(Fault.SVID_KEY_WEAK, {"key": rsa_pair(1024)}, {"key": rsa_pair(2048)}),
]
CASES = [*LEAVES, *IDENTIFIED, *PATHS]


def test_the_tables_are_whole() -> None:
    assert (len(LEAVES), len(IDENTIFIED), len(PATHS)) == (29, 21, 19)
    assert {case[0] for case in CASES} == {one for one in Fault if one.startswith(("svid_", "id_"))}


@pytest.mark.parametrize(("fault", "wrong", "right"), CASES, ids=[f"{case[0]}-{at}" for at, case in enumerate(CASES)])
def test_what_is_wrong_is_refused_with_its_code_and_its_twin_is_not(fault: Fault, wrong: Shown, right: Shown) -> None:
    with pytest.raises(IdentityError) as refused:
        verify(wrong.chain, BUNDLES, NOW)
    assert refused.value.fault is fault
    found = verify(right.chain, BUNDLES, NOW)
    assert found.id in uris(right)
    assert found.proven


def uris(shown: Shown) -> list[str]:
    names = x509.load_pem_x509_certificates(shown.chain)[0].extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


def test_a_leaf_in_the_bundle_does_not_vouch_for_itself() -> None:
    itself = x509.load_pem_x509_certificate(GOOD.chain)
    alone = {"a.test": TrustBundle("a.test", (itself,))}
    beside = {"a.test": TrustBundle("a.test", (itself, A.certificate))}
    with pytest.raises(IdentityError) as refused:
        verify(GOOD.chain, alone, NOW)
    assert refused.value.fault is Fault.SVID_PATH
    assert verify(A.leaf().chain, beside, NOW).id == ALICE


@pytest.mark.parametrize(
    ("weak", "strong"),
    [(curve(ec.SECP224R1()), p256), (curve(ec.SECP256K1()), P384), (rsa_pair(1024), rsa_pair(2048))],
)
def test_a_weak_authority_spoils_its_bundle_and_signs_nobody(weak: Any, strong: Any) -> None:
    for key, good in ((weak, False), (strong, True)):
        authority = Authority("a", key())
        authority.certificate = authority.sign("a", authority.key, AUTHORITY)
        held = {"a.test": TrustBundle("a.test", (authority.certificate,))}
        shown = authority.leaf()
        if good:
            assert bundle.read("a.test", pem(authority.certificate)).authorities == (authority.certificate,)
            assert verify(shown.chain, held, NOW).id == ALICE
            continue
        with pytest.raises(ValueError, match="2,048 bits"):
            bundle.read("a.test", pem(authority.certificate))
        with pytest.raises(IdentityError, match="svid_path"):
            verify(shown.chain, held, NOW)


def test_a_key_that_no_token_may_name_is_a_workload_s_all_the_same() -> None:
    assert verify(A.leaf(key=p256).chain, BUNDLES, NOW).key
    assert verify(A.leaf(key=P384).chain, BUNDLES, NOW).key is None


def test_a_path_ends_when_the_first_of_it_ends() -> None:
    found = verify(MIDDLE.leaf(MIDDLE.certificate, end=NOW + 9000).chain, BUNDLES, NOW)
    assert found.until == NOW + 7200
    assert verify(B.leaf(uris=("spiffe://b.test/x",)).chain, BUNDLES, NOW).id == "spiffe://b.test/x"


class Held:
    def __init__(self) -> None:
        self.material = Material(None, BUNDLES, 1)

    def current(self) -> Material:
        return self.material

    def close(self) -> None: ...


def test_a_remembered_peer_ends_with_its_time_and_with_its_authority() -> None:
    held, now, good = Held(), [NOW], GOOD.chain
    verifier = X509Verifier(held, lambda: now[0])
    assert verifier.verify(good) is verifier.verify(good)
    now[0] = NOW + 3600
    with pytest.raises(IdentityError, match="svid_expired"):
        verifier.verify(good)
    now[0] = NOW
    held.material = replace(held.material, bundles={**BUNDLES, "a.test": TrustBundle("a.test")}, version=2)
    with pytest.raises(IdentityError, match="svid_domain_untrusted"):
        verifier.verify(good)
