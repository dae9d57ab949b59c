"""Identities from files: read, followed part by part, and kept where what follows is no good."""

from __future__ import annotations

import json
import os
import time
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from chain.cli.identities import merged, source_of
from chain.errors import ConfigurationError
from chain.identity.bundle import read
from chain.identity.devapi import DevWorkloadApi
from chain.identity.devca import DevAuthority
from chain.identity.files import FileSource
from chain.identity.own import from_pem
from chain.service.tables import BundleSettings, IdentitySettings
from tests.identity.conftest import ALICE, CHAIN, pem, spiffe_bundle


@dataclass
class Place:
    """A folder with an SVID and a bundle, and a clock that a test turns."""

    folder: Path
    authority: DevAuthority
    now: float = field(default_factory=time.time)
    passed: float = 0.0
    reports: list[str] = field(default_factory=list)

    @property
    def cert(self) -> Path:
        return self.folder / "svid.pem"

    @property
    def key(self) -> Path:
        return self.folder / "svid.key"

    @property
    def bundle(self) -> Path:
        return self.folder / "dev.json"

    def write(self, name: str = CHAIN) -> None:
        certificate, key = pem(self.authority.leaf(name))
        self.cert.write_bytes(certificate)
        self.key.write_bytes(key)
        self.key.chmod(0o600)

    def source(self, **bundles: Path) -> FileSource:
        return FileSource(
            self.cert, self.key, {"dev.test": self.bundle} | bundles, lambda: self.now,
            steady=lambda: self.passed, report=self.reports.append,
        )  # fmt: skip

    def later(self, seconds: float = 1.0) -> None:
        self.passed += seconds


@pytest.fixture
def place(tmp_path: Path, authority: DevAuthority) -> Place:
    made = Place(tmp_path, authority)
    made.write()
    made.bundle.write_bytes(spiffe_bundle(authority, spiffe_sequence=3, spiffe_refresh_hint=60))
    return made


def test_svid_and_bundles_are_read(place: Place) -> None:
    pems = place.folder / "other.pem"
    other = DevAuthority("other.test", time.time, 60)
    pems.write_bytes(other.authorities[0].public_bytes(Encoding.PEM))
    held = place.source(**{"other.test": pems}).current()
    assert held.svid is not None
    assert (held.svid.id, held.version) == (CHAIN, 1)
    mine = held.bundles["dev.test"]
    assert (mine.authorities, mine.sequence, mine.refresh_hint) == (place.authority.authorities, 3, 60)
    assert set(mine.jwt_keys) == {key["kid"] for key in place.authority.jwt_keys}
    assert held.bundles["other.test"].authorities == other.authorities[:1]
    assert "PRIVATE" not in repr(held)


def test_a_change_is_seen_within_a_second(place: Place) -> None:
    source = place.source()
    first = source.current()
    place.write()
    assert source.current() is first  # the files are looked at once a second
    place.later()
    second = source.current()
    assert second.svid != first.svid
    assert second.version == first.version + 1
    place.later()
    assert source.current() == second


def test_an_old_file_is_not_read_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (place.cert, place.key, place.bundle):
        os.utime(file, (place.now - 60, place.now - 60))
    source = place.source()
    first = source.current()
    place.key.chmod(0o600)  # touches its times of change: it is read again, and is the same
    place.later()
    assert source.current() == first

    def refuse(*_: object) -> Any:
        raise AssertionError

    monkeypatch.setattr("chain.identity.files.read_private", refuse)
    monkeypatch.setattr("chain.identity.files._read_bundle", refuse)
    place.later()
    assert source.current() == first


def test_half_a_change_waits_for_its_other_half(place: Place) -> None:
    source = place.source()
    first = source.current()
    certificate, key = pem(place.authority.leaf(CHAIN))
    place.cert.write_bytes(certificate)
    for _ in range(3):
        place.later()
        assert source.current() == first
    assert len(place.reports) == 1
    assert "another certificate" in place.reports[0]
    place.key.write_bytes(key)
    place.later()
    after = source.current()
    assert after.svid is not None
    assert after.svid.key == key


def spoil_key(place: Place) -> None:
    place.key.chmod(0o640)


def remove_cert(place: Place) -> None:
    place.cert.unlink()


def cut_cert(place: Place) -> None:
    place.cert.write_bytes(place.cert.read_bytes()[:-40])


def cut_bundle(place: Place) -> None:
    place.bundle.write_bytes(place.bundle.read_bytes()[:-40])


def empty_bundle(place: Place) -> None:
    place.bundle.write_bytes(b"")


def older_bundle(place: Place) -> None:
    place.bundle.write_bytes(spiffe_bundle(place.authority, spiffe_sequence=2))


def unnumbered_bundle(place: Place) -> None:
    place.bundle.write_bytes(spiffe_bundle(place.authority))


def expired_cert(place: Place) -> None:
    old = DevAuthority("dev.test", lambda: time.time() - 7200, 60)
    certificate, key = pem(old.leaf(CHAIN))
    place.cert.write_bytes(certificate)
    place.key.write_bytes(key)


SPOILT = {
    spoil_key: "others may use it",
    remove_cert: "No such file",
    cut_cert: "cannot be read",
    cut_bundle: "JSON",
    empty_bundle: "neither",
    older_bundle: "sequence",
    unnumbered_bundle: "sequence",
    expired_cert: "expired",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_bad_file_leaves_what_was_read_before(spoil: Any, place: Place) -> None:
    assert len(SPOILT) == 8
    source = place.source()
    first = source.current()
    spoil(place)
    place.later()
    assert source.current() == first
    place.later()
    assert source.current() == first
    assert len(place.reports) == 1
    assert SPOILT[spoil] in place.reports[0]
    assert "PRIVATE" not in place.reports[0]
    place.write()
    place.bundle.write_bytes(spiffe_bundle(place.authority, spiffe_sequence=4))
    place.later()
    assert source.current().version > first.version
    assert len(place.reports) == 1


def test_a_bad_bundle_does_not_hold_up_an_svid(place: Place) -> None:
    source = place.source()
    first = source.current()
    cut_bundle(place)
    place.write()
    place.later()
    assert source.current().svid != first.svid
    assert source.current().bundles == first.bundles


def test_no_keys_at_all_end_the_trust(place: Place) -> None:
    source = place.source()
    place.bundle.write_bytes(b'{"keys":[],"spiffe_sequence":4}')
    place.later()
    held = source.current().bundles["dev.test"]
    assert (held.authorities, held.jwt_keys, held.sequence) == ((), {}, 4)


def test_an_svid_ends_with_its_time(place: Place) -> None:
    source = place.source()
    first = source.current()
    assert first.svid is not None
    place.now = first.svid.expires
    assert source.current().svid is None
    assert source.current().version == first.version + 1


@pytest.mark.parametrize("spoil", [*list(SPOILT)[:5], expired_cert], ids=lambda spoil: spoil.__name__)
def test_bad_files_do_not_start(spoil: Any, place: Place) -> None:
    spoil(place)
    with pytest.raises(ConfigurationError, match=SPOILT[spoil]):
        place.source()


def test_half_an_svid_does_not_start(place: Place) -> None:
    for pair in ((place.cert, None), (None, place.key)):
        with pytest.raises(ConfigurationError, match="needs both"):
            FileSource(*pair, {}, time.time)
    assert FileSource(None, None, {"dev.test": place.bundle}, time.time).current().svid is None


def test_a_key_that_no_handshake_takes_is_refused(place: Place) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    place.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigurationError, match="EC or RSA"):
        place.source()


CERT = '{"use":"x509-svid","kty":"EC","x5c":%s}'
BUNDLES = {
    "no object": b"[]",
    "no keys": b"{}",
    "keys no list": b'{"keys":{}}',
    "a key no object": b'{"keys":[1]}',
    "keys twice": b'{"keys":[],"keys":[]}',
    "no x5c": b'{"keys":[{"use":"x509-svid"}]}',
    "two in x5c": b'{"keys":[' + (CERT % '["AA==","AA=="]').encode() + b"]}",
    "no certificate": b'{"keys":[' + (CERT % '["AA=="]').encode() + b"]}",
    "no base64": b'{"keys":[' + (CERT % '["~"]').encode() + b"]}",
    "no kid": b'{"keys":[{"use":"jwt-svid"}]}',
    "an empty kid": b'{"keys":[{"use":"jwt-svid","kid":""}]}',
    "a kid twice": b'{"keys":[{"use":"jwt-svid","kid":"1"},{"use":"jwt-svid","kid":"1"}]}',
    "a sequence that is text": b'{"keys":[],"spiffe_sequence":"1"}',
    "a sequence below zero": b'{"keys":[],"spiffe_sequence":-1}',
    "a hint that is true": b'{"keys":[],"spiffe_refresh_hint":true}',
    "too long": b"{" + b" " * (1024 * 1024),
    "text": b"hello",
    "a private key": b'{"keys":[{"use":"jwt-svid","kid":"1","kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}',
    "a shared key": b'{"keys":[{"use":"jwt-svid","kid":"1","kty":"oct","k":"AA"}]}',
}


@pytest.mark.parametrize("case", BUNDLES)
def test_a_bundle_is_whole_or_refused(case: str) -> None:
    assert len(BUNDLES) == 19
    with pytest.raises(ValueError, match=r"."):
        read("dev.test", BUNDLES[case])


def test_an_authority_signs_others_and_is_of_its_own_domain(authority: DevAuthority) -> None:
    """Both as JSON and as PEM; what a workload shows is no authority, and another domain's is not this one's."""
    leaf = x509.load_der_x509_certificate(authority.leaf(ALICE).certificate)
    for name, one, allowed in (
        ("dev.test", authority.authorities[0], True),
        ("dev.test", leaf, False),
        ("other.test", authority.authorities[0], False),
    ):
        der = b64encode(one.public_bytes(Encoding.DER)).decode()
        listed = json.dumps({"keys": [{"use": "x509-svid", "kty": "EC", "x5c": [der]}]}).encode()
        for data in (one.public_bytes(Encoding.PEM), listed):
            if allowed:
                assert read(name, data).authorities == (one,)
                continue
            with pytest.raises(ValueError, match=r"no authority|another trust domain"):
                read(name, data)


def test_one_sequence_is_one_bundle(place: Place) -> None:
    source = place.source()
    first = source.current()
    place.bundle.write_bytes(spiffe_bundle(DevAuthority("dev.test", time.time, 60), spiffe_sequence=3))
    place.later()
    assert source.current().bundles == first.bundles
    place.bundle.write_bytes(spiffe_bundle(place.authority, spiffe_sequence=4))
    place.later()
    assert source.current().bundles["dev.test"].sequence == 4


def test_a_key_of_unknown_use_is_ignored(authority: DevAuthority) -> None:
    held = json.loads(spiffe_bundle(authority))
    held["keys"] += [{"use": "wit-svid", "kid": "1"}, {"kid": "2"}]
    found = read("dev.test", json.dumps(held).encode())
    assert found == read("dev.test", spiffe_bundle(authority))
    assert set(found.jwt_keys) == {key["kid"] for key in authority.jwt_keys}
    with pytest.raises(ValueError, match="no trust domain"):
        read("Dev.test", spiffe_bundle(authority))


def test_settings_give_a_source(place: Place) -> None:
    assert source_of(None) is None
    bundle = BundleSettings(trust_domain="dev.test", file=place.bundle)
    source = source_of(IdentitySettings(svid_cert=place.cert, svid_key=place.key, bundles=(bundle,)))
    assert source is not None
    assert source.current().svid is not None
    source.close()
    with pytest.raises((ConfigurationError, ValidationError)):
        source_of(IdentitySettings(bundles=(bundle, bundle)))
    with pytest.raises((ConfigurationError, ValidationError)):
        source_of(IdentitySettings(workload_api="unix:/none", svid_cert=place.cert, svid_key=place.key))


def test_an_id_chooses_among_svids_of_a_workload_api_only(place: Place) -> None:
    with pytest.raises((ConfigurationError, ValidationError), match="spiffe_id"):
        source_of(IdentitySettings(spiffe_id=CHAIN, svid_cert=place.cert, svid_key=place.key))


def leaf(usages: str | None, *names: str, ca: bool | None = False) -> tuple[bytes, bytes]:
    """A certificate that differs from an SVID in what a case says."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(hours=1))
    )  # fmt: skip
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(map(x509.UniformResourceIdentifier, names)), False)
    if ca is not None:
        made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
    if usages is not None:
        every = (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        )  # fmt: skip
        made = made.add_extension(x509.KeyUsage(**{one: one in usages.split() for one in every}), True)
    signed = made.sign(key, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


NO_LEAF = {
    "no usage": ((None, CHAIN), {}),
    "signs certificates": (("digital_signature key_cert_sign", CHAIN), {}),
    "signs revocations": (("digital_signature crl_sign", CHAIN), {}),
    "signs no handshake": (("key_encipherment", CHAIN), {}),
    "an authority": (("digital_signature", CHAIN), {"ca": True}),
    "no id": (("digital_signature",), {}),
    "two ids": (("digital_signature", CHAIN, ALICE), {}),
    "no SPIFFE id": (("digital_signature", "https://dev.test/chain"), {}),
    "an upper-case domain": (("digital_signature", "spiffe://Dev.test/chain"), {}),
    "no path": (("digital_signature", "spiffe://dev.test"), {}),
    "too long an id": (("digital_signature", "spiffe://dev.test/" + "a" * 2048), {}),
}


@pytest.mark.parametrize("case", NO_LEAF)
def test_what_is_no_svid_is_refused(case: str) -> None:
    assert len(NO_LEAF) == 11
    given, extra = NO_LEAF[case]
    with pytest.raises(ValueError, match=r"."):
        from_pem(*leaf(*given, **extra))
    for ca in (False, None):
        assert from_pem(*leaf("digital_signature", CHAIN, ca=ca)).id == CHAIN


def test_files_stand_beside_the_workload_api(place: Place, api: DevWorkloadApi) -> None:
    other = place.folder / "other.pem"
    other.write_bytes(DevAuthority("other.test", time.time, 60).authorities[0].public_bytes(Encoding.PEM))
    address = f"unix:{api.sockets[ALICE]}"
    settings = IdentitySettings(workload_api=address, bundles=(BundleSettings(trust_domain="other.test", file=other),))
    source = source_of(settings)
    assert source is not None
    try:
        held = source.current()
        assert held.svid is not None
        assert held.svid.id == ALICE
        assert set(held.bundles) == {"dev.test", "other.test"}
        assert held.version >= 2
    finally:
        source.close()
    twice = IdentitySettings(
        workload_api=address, bundles=(BundleSettings(trust_domain="dev.test", file=place.bundle),)
    )
    with pytest.raises(ConfigurationError, match="file too"):
        source_of(twice)


def test_sources_are_merged_by_domain_and_never_joined(place: Place) -> None:
    other = place.bundle.with_name("other.json")
    other.write_bytes(spiffe_bundle(DevAuthority("other.test", time.time, 60)))
    bare = FileSource(None, None, {"other.test": other}, time.time)
    both = merged(place.source(), bare)
    assert set(both.current().bundles) == {"dev.test", "other.test"}
    both.close()
