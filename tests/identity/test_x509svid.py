"""X.509-SVIDs: each way to be wrong has its code, and the same certificate made right is accepted."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from chain.identity.fault import Fault, IdentityError
from chain.identity.material import Material, TrustBundle
from chain.identity.x509svid import X509Verifier, verify

NOW, ALICE = 1_800_000_000.0, "spiffe://a.test/agents/alice"
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
FLAGS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Wish:
    """What a certificate is to be; as it stands, a good leaf."""

    uris: tuple[str, ...] = (ALICE,)
    dns: tuple[str, ...] = ()
    ca: bool = False
    usage: tuple[str, ...] | None = ("digital_signature",)
    critical: bool = True
    purposes: tuple[Any, ...] | None = BOTH
    begin: float = NOW - 60
    end: float = NOW + 3600
    raw: bytes | None = None


AUTHORITY = Wish(uris=(), ca=True, usage=("key_cert_sign",), purposes=None, end=NOW + 86400)


@dataclass
class Authority:
    """A key, and the certificate that others are signed under."""

    name: str
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: Any = None

    @classmethod
    def root(cls, name: str) -> Authority:
        made = cls(name)
        made.certificate = made.sign(name, made.key, AUTHORITY)
        return made

    def beneath(self, name: str, **wish: Any) -> Authority:
        made = Authority(name)
        made.certificate = self.sign(name, made.key, replace(AUTHORITY, end=NOW + 7200, **wish))
        return made

    def leaf(self, **wish: Any) -> Any:
        return self.sign("leaf", ec.generate_private_key(ec.SECP256R1()), Wish(**wish))

    def sign(self, name: str, key: Any, wish: Wish) -> Any:
        common = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (self.name, name))
        builder = x509.CertificateBuilder(next(common), next(common), key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(datetime.fromtimestamp(wish.begin, UTC))
        builder = builder.not_valid_after(datetime.fromtimestamp(wish.end, UTC))
        builder = builder.add_extension(x509.BasicConstraints(wish.ca, None), critical=True)
        names = [*map(x509.UniformResourceIdentifier, wish.uris), *map(x509.DNSName, wish.dns)]
        if wish.raw is not None:
            names = []
            raw = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, wish.raw)
            builder = builder.add_extension(raw, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if wish.usage is not None:
            usage = x509.KeyUsage(**{one: one in wish.usage for one in FLAGS})
            builder = builder.add_extension(usage, critical=wish.critical)
        if wish.purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(wish.purposes), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def pem(*certificates: Any) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def x509_pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + b64encode(der) + b"\n-----END CERTIFICATE-----\n"


A, B = Authority.root("a"), Authority.root("b")
BUNDLES = {
    "a.test": TrustBundle("a.test", (A.certificate,)),
    "b.test": TrustBundle("b.test", (B.certificate,)),
    "empty.test": TrustBundle("empty.test"),
}
MIDDLE = A.beneath("middle")
GOOD = pem(A.leaf())
VERSION_9 = x509_pem(A.leaf().public_bytes(Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x08", 1))

LEAVES: list[tuple[Fault, dict[str, Any]]] = [
    (Fault.SVID_URI_MISSING, {"uris": ()}),
    (Fault.SVID_URI_MISSING, {"uris": (), "dns": ("a.test",)}),
    (Fault.SVID_URI_MANY, {"uris": (ALICE, "spiffe://a.test/bob")}),
    (Fault.SVID_URI_MANY, {"uris": (ALICE, "https://a.test/bob")}),
    (Fault.ID_SCHEME, {"uris": ("https://a.test/x",)}),
    (Fault.ID_TRUST_DOMAIN, {"uris": ("spiffe://A.test/x",)}),
    (Fault.ID_PATH_MISSING, {"uris": ("spiffe://a.test",)}),
    (Fault.ID_PATH, {"uris": ("spiffe://a.test/x/../y",)}),
    (Fault.ID_TOO_LONG, {"uris": ("spiffe://a.test/" + "x" * 2048,)}),
    (Fault.SVID_IS_CA, {"ca": True}),
    (Fault.SVID_KEY_USAGE_MISSING, {"usage": None}),
    (Fault.SVID_KEY_USAGE_NOT_CRITICAL, {"critical": False}),
    (Fault.SVID_NO_DIGITAL_SIGNATURE, {"usage": ("key_agreement",)}),
    (Fault.SVID_SIGNS_CERTIFICATES, {"usage": ("digital_signature", "key_cert_sign")}),
    (Fault.SVID_SIGNS_CRLS, {"usage": ("digital_signature", "crl_sign")}),
    (Fault.SVID_EXTENDED_KEY_USAGE, {"purposes": BOTH[:1]}),
    (Fault.SVID_EXTENDED_KEY_USAGE, {"purposes": BOTH[1:]}),
    (Fault.SVID_NOT_YET_VALID, {"begin": NOW + 1}),
    (Fault.SVID_EXPIRED, {"end": NOW}),
    (Fault.SVID_DOMAIN_UNTRUSTED, {"uris": ("spiffe://c.test/x",)}),
    (Fault.SVID_DOMAIN_UNTRUSTED, {"uris": ("spiffe://empty.test/x",)}),
    (Fault.SVID_EXTENSION_UNREADABLE, {"raw": b"\x30\x05\x87\x03\x01\x02\x03"}),  # an address of three bytes
    (Fault.SVID_EXTENSION_UNREADABLE, {"raw": b"\x30\x02\xa3\x00"}),  # a name of a kind that nobody reads
    (Fault.SVID_PATH, {"uris": ("spiffe://b.test/x",)}),  # A's authority signs an id of B: a union would take it
]
OLD, PLAIN = A.beneath("old", begin=NOW - 99), A.beneath("plain", ca=False)
OLD.certificate = A.sign("old", OLD.key, replace(AUTHORITY, end=NOW - 1))
MUTE = A.beneath("mute", usage=("digital_signature",))
SILENT = A.beneath("silent", usage=None)
FOREIGN = A.beneath("foreign", uris=("spiffe://b.test",))
OWN = A.beneath("own", uris=("spiffe://a.test",))
ITSELF = A.leaf()
CHAINS: list[tuple[Fault, bytes]] = [
    (Fault.SVID_MALFORMED, VERSION_9),
    (Fault.SVID_PATH, pem(FOREIGN.leaf(), FOREIGN.certificate)),  # says that it is B's, and signs for A
    (Fault.SVID_MISSING, b""),
    (Fault.SVID_MALFORMED, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    (Fault.SVID_TOO_MANY, GOOD * 8),
    (Fault.SVID_PATH, pem(B.leaf())),  # B's authority signs an id of A
    (Fault.SVID_PATH, pem(MIDDLE.leaf())),  # the intermediate was not sent
    (Fault.SVID_PATH, pem(OLD.leaf(), OLD.certificate)),
    (Fault.SVID_PATH, pem(PLAIN.leaf(), PLAIN.certificate)),
    (Fault.SVID_PATH, pem(MUTE.leaf(), MUTE.certificate)),
    (Fault.SVID_PATH, pem(SILENT.leaf(), SILENT.certificate)),  # says nothing of what its key may do
    (Fault.SVID_PATH, pem(B.leaf(), A.certificate)),
]


def test_the_tables_are_whole() -> None:
    assert len(LEAVES) == 24
    assert len(CHAINS) == 12
    reached = {case[0] for case in LEAVES} | {case[0] for case in CHAINS}
    assert {one for one in Fault if one.startswith(("svid_", "id_"))} <= reached


@pytest.mark.parametrize(("fault", "wish"), LEAVES)
def test_a_leaf_that_is_wrong_is_refused_with_its_code(fault: Fault, wish: dict[str, Any]) -> None:
    with pytest.raises(IdentityError) as refused:
        verify(pem(A.leaf(**wish)), BUNDLES, NOW)
    assert refused.value.fault is fault
    assert verify(GOOD, BUNDLES, NOW).id == ALICE


@pytest.mark.parametrize(("fault", "chain"), CHAINS)
def test_a_path_that_is_wrong_is_refused_with_its_code(fault: Fault, chain: bytes) -> None:
    with pytest.raises(IdentityError) as refused:
        verify(chain, BUNDLES, NOW)
    assert refused.value.fault is fault
    assert verify(GOOD, BUNDLES, NOW).id == ALICE
    assert verify(pem(OWN.leaf(), OWN.certificate), BUNDLES, NOW).id == ALICE


def test_a_leaf_in_the_bundle_does_not_vouch_for_itself() -> None:
    alone = {"a.test": TrustBundle("a.test", (ITSELF,))}
    beside = {"a.test": TrustBundle("a.test", (ITSELF, A.certificate))}
    with pytest.raises(IdentityError) as refused:
        verify(pem(ITSELF), alone, NOW)
    assert refused.value.fault is Fault.SVID_PATH
    assert verify(pem(A.leaf()), beside, NOW).id == ALICE


@pytest.mark.parametrize("wish", [{"purposes": None}, {"dns": ("localhost",)}, {"end": NOW + 1}])
def test_what_the_profile_allows_is_accepted(wish: dict[str, Any]) -> None:
    found = verify(pem(A.leaf(**wish)), BUNDLES, NOW)
    assert found.id == ALICE
    assert found.proven
    assert found.key


def test_a_path_ends_when_the_first_of_it_ends() -> None:
    found = verify(pem(MIDDLE.leaf(end=NOW + 9000), MIDDLE.certificate), BUNDLES, NOW)
    assert found.until == NOW + 7200
    assert verify(pem(B.leaf(uris=("spiffe://b.test/x",))), BUNDLES, NOW).id == "spiffe://b.test/x"


class Held:
    def __init__(self) -> None:
        self.material = Material(None, BUNDLES, 1)

    def current(self) -> Material:
        return self.material

    def close(self) -> None: ...


def test_a_remembered_peer_ends_with_its_time_and_with_its_authority() -> None:
    held, now = Held(), [NOW]
    verifier = X509Verifier(held, lambda: now[0])
    assert verifier.verify(GOOD) is verifier.verify(GOOD)
    now[0] = NOW + 3600
    with pytest.raises(IdentityError, match="svid_expired"):
        verifier.verify(GOOD)
    now[0] = NOW
    held.material = replace(held.material, bundles={**BUNDLES, "a.test": TrustBundle("a.test")}, version=2)
    with pytest.raises(IdentityError, match="svid_domain_untrusted"):
        verifier.verify(GOOD)
