"""What strangers verify with: keys, metadata and the status list, by a foreign library and by hand."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest
from starlette.requests import Request

from chain.anchor import TrustAnchor
from chain.authority import Authority
from chain.caller import embedded
from chain.certificate import CertifiedSigner, certify
from chain.control import Named
from chain.errors import ChainError, ConfigurationError, KeyRingError, SignerError, StoreError
from chain.identity import keyring
from chain.identity.sealed import MIN_MEMORY, MIN_OPS, Cost
from chain.order import Revoke
from chain.statuslist import TTL
from chain.store.memory import MemoryStore
from chain.token import Verifier
from chain.web.metadata import base_of, list_path
from chain.web.published import FRESH, Listing
from chain.web.reply import refuse

from .conftest import Host
from .hosted import KEYS, Hosted

EDDSA = ["EdDSA"]


def key_of(url: str, token: str) -> object:
    """The key that a JWKS holds for a token, found by somebody who has its URL and nothing else."""
    return jwt.PyJWKClient(url).get_signing_key_from_jwt(token).key


def status(text: str, index: int) -> int:
    """A status, read as the draft says (s4.1, s8.3)."""
    claims = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    packed = zlib.decompress(base64.urlsafe_b64decode(claims["status_list"]["lst"] + "=="))
    assert claims["status_list"]["bits"] == 1
    return packed[index // 8] >> (index % 8) & 1


def test_a_stranger_verifies_a_root_with_the_issuers_url_alone(web: Hosted) -> None:
    token = web.root()
    issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
    told = web.client.get(f"{issuer}/.well-known/oauth-authorization-server").json()
    assert told["issuer"] == issuer
    claims = jwt.decode(token, key_of(told["jwks_uri"], token), algorithms=EDDSA, issuer=issuer)
    assert claims["sub"] == "dana"
    forged = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, key_of(told["jwks_uri"], forged), algorithms=EDDSA, issuer=issuer)


def test_the_key_set_holds_public_halves_alone(web: Hosted) -> None:
    answered = web.client.get("/.well-known/jwks.json")
    assert answered.headers["content-type"] == "application/jwk-set+json"
    assert answered.headers["cache-control"] == "public, max-age=300"
    keys = answered.json()["keys"]
    assert {key["kid"] for key in keys} == {KEYS[name].key.thumbprint for name in ("issuer", "former")}
    assert all(key.keys() == {"kty", "crv", "x", "kid", "alg", "use"} for key in keys)


def test_the_metadata_is_what_rfc_8414_asks_for(web: Hosted) -> None:
    answered = web.client.get("/.well-known/oauth-authorization-server")
    assert answered.headers["content-type"] == "application/json"
    told, issuer = answered.json(), web.settings.issuer
    assert told == {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "response_types_supported": [],
        "grant_types_supported": [],
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": ["Bearer"],
        "authorization_details_types_supported": ["attenuating_agent_token", "chain_agent_grant"],
        "aat_issuer": True,
    }
    assert web.client.get(told["jwks_uri"]).status_code == 200
    for endpoint in (told["introspection_endpoint"], told["revocation_endpoint"]):
        assert web.client.post(endpoint).status_code == 401


def test_an_issuer_with_a_path_has_its_metadata_before_it(host: Host) -> None:
    """RFC 8414 s3.1: the well-known part comes between host and path; all else lies beneath the issuer."""
    web = host(issuer="https://a.example/tenant/1", status_list="https://a.example/tenant/1/list")
    told = web.client.get("/.well-known/oauth-authorization-server/tenant/1").json()
    assert told["issuer"] == "https://a.example/tenant/1"
    for url, found in ((told["jwks_uri"], 200), (told["introspection_endpoint"], 405), (told["issuer"] + "/list", 200)):
        assert web.client.get(url.removeprefix("https://a.example")).status_code == found
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/introspect"):
        assert web.client.get(path).status_code == 404
    assert web.client.get("/healthz").text == "serving\n"


UNFIT = [
    "http://a.example", "urn:issuer", "https://", "https://a.example?x=1", "https://a.example?", "https://a.example#f",
    "https://a.example#", "https://u@a.example", "https://a.example/{x}", "https://a.example/a%2fb",
    "https://a.example/../b", "https://a.example:x", "https://a.example/ b", "https://a.example//b", "ftp://a.example",
    "https://[::1", "https://ä.example",
]  # fmt: skip


@pytest.mark.parametrize("issuer", UNFIT)
def test_an_issuer_that_is_no_clean_url_has_no_base(issuer: str) -> None:
    assert base_of(issuer).fault


FIT = {
    "https://a.example": ("https://a.example", ""),
    "https://a.example/": ("https://a.example", ""),
    "https://a.example:8443/t/": ("https://a.example:8443/t", "/t"),
    "http://127.0.0.1:80/x-y_z.~": ("http://127.0.0.1:80/x-y_z.~", "/x-y_z.~"),
    "http://localhost": ("http://localhost", ""),
    "http://[::1]:8": ("http://[::1]:8", ""),
}


@pytest.mark.parametrize("issuer", FIT)
def test_an_issuer_that_is_a_url_has_one(issuer: str) -> None:
    base = base_of(issuer)
    assert ((base.url, base.path), base.fault) == (FIT[issuer], "")


def test_without_a_fit_issuer_there_is_no_metadata_and_the_log_says_why(host: Host) -> None:
    web = host(issuer="urn:example:issuer", status_list=None)
    assert web.client.get("/.well-known/oauth-authorization-server").status_code == 404
    assert [line["detail"]["said"] for line in web.lines() if line.get("event") == "metadata is not published"]
    assert len(web.client.get("/.well-known/jwks.json").json()["keys"]) == 2
    assert web.client.get("/status-list").status_code == 404


def test_a_server_that_issues_nothing_publishes_nothing(host: Host) -> None:
    anchor = {"jwk": json.loads(KEYS["issuer"].key.to_json())}
    web = host(issuer=None, issuer_key=None, anchors=[anchor], status_list=None)
    for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/status-list"):
        assert (web.client.get(path).status_code, web.client.get(path).content) == (404, b"")
    assert web.client.get("/healthz").status_code == 200


LISTS = [
    (None, "/status-list"),
    ("https://a.example/lists/1", "/lists/1"),
    ("https://a.example:443/lists/1", "/lists/1"),
    ("https://A.example/lists/1", "/lists/1"),
    ("https://b.example/lists/1", "/status-list"),
    ("https://a.example:8443/lists/1", "/status-list"),
    ("http://a.example/lists/1", "/status-list"),
    ("https://a.example", "/status-list"),
    ("https://a.example/{x}", "/status-list"),
    ("https://a.example/x?y", "/status-list"),
    ("urn:list", "/status-list"),
]


@pytest.mark.parametrize(("uri", "path"), LISTS)
def test_the_list_lies_where_its_uri_says_if_that_is_here(uri: str | None, path: str) -> None:
    assert list_path(base_of("https://a.example"), uri) == path


def test_a_stranger_learns_from_the_list_that_a_root_was_revoked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.published.FRESH", 0.0)
    web = host()
    kept, gone = web.root(), web.root()
    places = {
        token: jwt.decode(token, options={"verify_signature": False})["status"]["status_list"] for token in (kept, gone)
    }
    uri = places[gone]["uri"]
    before = web.client.get(uri)
    assert before.headers["content-type"] == "application/statuslist+jwt"
    assert before.headers["cache-control"] in {f"public, max-age={age}" for age in range(TTL - 3, TTL + 1)}
    claims = jwt.decode(before.text, key_of(f"{web.url}/.well-known/jwks.json", before.text), algorithms=EDDSA)
    assert (claims["sub"], claims["ttl"]) == (uri, TTL)
    assert [status(before.text, places[token]["idx"]) for token in (kept, gone)] == [0, 0]
    assert web.post("/revoke", "operator", token=gone).status_code == 200
    after = web.client.get(uri).text
    assert [status(after, places[token]["idx"]) for token in (kept, gone)] == [0, 1]
    assert web.client.get(uri, params={"time": "1"}).status_code == 501


class Press:
    """Makes lists, counts them, and fails when told to."""

    def __init__(self) -> None:
        self.made, self.revision, self.now = 0, 1, 1000.0
        self.broken: Exception | None = None
        self.threads = ThreadPoolExecutor(1)
        self.listing = Listing(self.print, lambda: self.revision, self.threads, lambda: self.now)

    def print(self) -> str:
        self.made += 1
        if self.broken is not None:
            raise self.broken
        return f"list {self.made}"

    async def get(self) -> tuple[str, str]:
        request = Request({"type": "http", "query_string": b"", "headers": [], "path": "/", "method": "GET"})
        answered = await self.listing.answer(request)
        return bytes(answered.body).decode(), answered.headers["cache-control"].rpartition("=")[2]


async def test_strangers_do_not_make_us_sign() -> None:
    press = Press()
    assert {*await asyncio.gather(*(press.get() for _ in range(50)))} == {("list 1", str(TTL))}
    press.now += FRESH + 1
    assert await press.get() == ("list 1", str(TTL - 6))  # nothing changed
    for _ in range(50):
        press.revision += 1  # somebody writes all the time
        await press.get()
    assert press.made == 2
    press.now += FRESH
    assert await press.get() == ("list 3", str(TTL))
    press.now += TTL - 1
    assert await press.get() == ("list 3", "1")
    press.now += 1
    assert await press.get() == ("list 4", str(TTL))


async def test_what_cannot_be_signed_is_tried_again_later_and_never_by_the_crowd() -> None:
    press = Press()
    press.broken = StoreError("the ledger stopped")
    for _ in range(5):
        with pytest.raises(StoreError):
            await press.get()
    assert press.made == 1
    press.broken, press.now = None, press.now + FRESH
    assert await press.get() == ("list 2", str(TTL))
    press.broken, press.now, press.revision = StoreError("again"), press.now + FRESH, 9
    assert await press.get() == ("list 2", str(int(TTL - FRESH)))  # still true for as long as it says
    press.now += TTL
    for _ in range(3):
        with pytest.raises(StoreError):
            await press.get()


async def test_a_list_of_a_key_that_signs_no_more_is_not_handed_on() -> None:
    press = Press()
    assert await press.get() == ("list 1", str(TTL))
    press.broken, press.now, press.revision = KeyRingError("no key is active"), press.now + FRESH, 2
    with pytest.raises(KeyRingError):
        await press.get()
    with pytest.raises(StoreError):
        await press.get()
    press.broken, press.now = None, press.now + FRESH
    assert await press.get() == ("list 3", str(TTL))


@pytest.mark.parametrize(
    ("error", "status"), [(SignerError("away"), 503), (KeyRingError("none"), 503), (ChainError("x"), 500)]
)
def test_a_signer_that_is_away_is_told_as_what_passes(error: ChainError, status: int) -> None:
    assert refuse(error).status_code == status


def test_health_is_serving_or_not(host: Host) -> None:
    web = host()
    assert (web.client.get("/healthz").status_code, web.client.get("/healthz").text) == (200, "serving\n")
    web.server._health.set(serving=False)
    assert (web.client.get("/healthz").status_code, web.client.get("/healthz").text) == (503, "not serving\n")


def test_two_pages_at_one_path_are_refused(host: Host) -> None:
    with pytest.raises(ConfigurationError, match="two pages would lie at `/introspect`"):
        host(issuer="https://a.example", status_list="https://a.example/introspect")
    host(issuer="https://a.example", status_list="https://a.example/introspected")


def test_a_key_that_was_revoked_by_name_is_published_no_more(host: Host) -> None:
    web = host()
    names = {name: KEYS[name].key.thumbprint for name in ("issuer", "former")}

    def published() -> set[str]:
        return {key["kid"] for key in web.client.get("/.well-known/jwks.json").json()["keys"]}

    assert published() == {*names.values()}
    web.authority.revoke(embedded(), Revoke(cause="stolen", named=Named("key", names["former"])))
    assert published() == {names["issuer"]}


def test_a_key_that_certifies_is_not_published_and_what_it_certified_is() -> None:
    kms, short, now = KEYS["former"], KEYS["issuer"], int(time.time())
    shown = certify(kms, short.key, "https://a.example", jti="c1", now=now, window=600)
    authority = Authority(
        MemoryStore(),
        Verifier([TrustAnchor(kms.key, "https://a.example", certifies=True)]),
        clock=time.time,
        entropy=os.urandom,
        audience="https://chain.example",
        signer=CertifiedSigner(short, shown),
        issuer="https://a.example",
    )
    assert [key["kid"] for key in authority.keys.jwks()["keys"]] == [short.key.thumbprint]


def test_a_running_servers_ring_is_published_as_it_turns(host: Host, tmp_path: Path) -> None:
    keyring.create(tmp_path / "ring")
    ring = keyring.Directory(tmp_path / "ring", lambda: b"correct horse battery", Cost(MIN_OPS, MIN_MEMORY))
    web = host(ring=ring, issuer_key=None, key_ring=tmp_path / "ring", anchors=[])
    keys, asked = web.authority.keys, embedded()

    def published() -> list[str]:
        return [key["kid"] for key in web.client.get("/.well-known/jwks.json").json()["keys"]]

    assert published() == []
    first, second = (keys.add(asked).key.key.thumbprint for _ in range(2))
    assert published() == [first, second], "pending, and told before it signs"
    keys.activate(asked, first)
    keys.activate(asked, second)
    root = web.root()
    assert jwt.get_unverified_header(root)["kid"] == second
    assert jwt.decode(root, key_of(f"{web.url}/.well-known/jwks.json", root), algorithms=EDDSA)
    assert web.client.get("/lists/1").status_code == 200
    keys.compromise(asked, second, "stolen")
    assert published() == [first], "retiring, and still verified"
    with pytest.raises(jwt.PyJWKClientError):
        key_of(f"{web.url}/.well-known/jwks.json", root)
