"""A development trust domain that is served for one test."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding

from chain.identity.devapi import DevWorkloadApi
from chain.identity.devca import DevAuthority, Leaf

CHAIN, ALICE = "spiffe://dev.test/chain", "spiffe://dev.test/agents/alice"


def eventually(holds: Callable[[], bool], within: float = 10.0) -> None:
    """Wait until something holds that another thread brings about."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


@pytest.fixture
def authority() -> DevAuthority:
    return DevAuthority("dev.test", time.time, 3600)


@pytest.fixture
def api(authority: DevAuthority, tmp_path: Path) -> Iterator[DevWorkloadApi]:
    serving = DevWorkloadApi(authority, [CHAIN, ALICE, None], {CHAIN: ["localhost"]})
    serving.start(tmp_path / "sockets")
    yield serving
    serving.stop()


def pem(leaf: Leaf) -> tuple[bytes, bytes]:
    """A leaf's certificate and key as files hold them."""
    certificate = x509.load_der_x509_certificate(leaf.certificate).public_bytes(Encoding.PEM)
    private = serialization.load_der_private_key(leaf.key, None)
    key = private.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate, key


def spiffe_bundle(authority: DevAuthority, **changes: object) -> bytes:
    """An authority's bundle as SPIFFE writes it."""
    certificates = [
        {"use": "x509-svid", "kty": "EC", "x5c": [b64encode(one.public_bytes(Encoding.DER)).decode()]}
        for one in authority.authorities
    ]
    return json.dumps({"keys": [*certificates, *map(dict, authority.jwt_keys)], **changes}).encode()
