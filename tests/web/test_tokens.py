"""Introspection and revocation: what is told to whom, and forms that are none."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import httpx
import pytest

from chain import mint
from chain.base64url import b64encode
from chain.caller import Role, embedded
from chain.cli.identities import people_of, source_of
from chain.control import Named
from chain.identity.devca import DevAuthority
from chain.identity.tls import Channels
from chain.order import Revoke
from chain.service.tables import IdentitySettings
from chain.web.form import MAX_BODY
from tests.identity.provider import claims as claims_of_person
from tests.identity.provider import jwks, serving
from tests.identity.provider import token as person

from .conftest import Host
from .hosted import FORM, KEYS, PEP, Hosted, bearer

INACTIVE = {"active": False}


def digest(token: str) -> str:
    return b64encode(mint.unverified(token).digest)


def claims(token: str) -> dict[str, object]:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def test_a_token_that_stands_is_told_by_itself_and_by_its_id(web: Hosted) -> None:
    token = web.root(audience=(PEP, "https://b.example"))
    said = claims(token)
    told = web.introspect(token)
    assert told == {
        "active": True,
        "iss": web.settings.issuer,
        "jti": said["jti"],
        "iat": said["iat"],
        "exp": said["exp"],
        "cnf": {"jwk": json.loads(KEYS["alice"].key.to_json())},
        "del_depth": 0,
        "sub": "dana",
        "txn": "t1",
        "aud": ["https://b.example", PEP],
    }
    assert web.introspect(digest(token)) == told


def test_a_derived_token_is_told_with_the_facts_of_its_root(web: Hosted) -> None:
    root = web.root()
    token = web.child(root)
    told = web.introspect(token)
    assert (told["del_depth"], told["sub"], told["txn"], "aud" in told) == (1, "dana", "t1", False)
    assert told["iss"] == "urn:ietf:params:oauth:jwk-thumbprint:sha-256:" + KEYS["alice"].key.thumbprint
    assert web.introspect(token, "issuer") == told


UNKNOWN = {
    "words": "not a token",
    "dots": "a.b.c",
    "an id of nothing": b64encode(b"\0" * 32),
    "too short": b64encode(b"\0" * 31),
    "not ascii": "tökén",
    "white space": " ",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_of_what_is_no_token_nothing_is_told_and_nothing_revoked(web: Hosted, name: str) -> None:
    assert web.introspect(UNKNOWN[name]) == INACTIVE
    answered = web.post("/revoke", "operator", token=UNKNOWN[name])
    assert (answered.status_code, answered.content) == (200, b"")


def test_a_token_under_another_signature_is_not_that_token(web: Hosted) -> None:
    token = web.root()
    head, _, signature = token.rpartition(".")
    other = ("A" if signature[0] != "A" else "B") + signature[1:]
    for changed in (f"{head}.{other}", f"{head}.", f"{head}.{signature}=", f"{token} ", f"{token}.x"):
        assert web.introspect(changed) == INACTIVE
    assert web.introspect(token)["active"]


def test_what_was_never_registered_is_unknown(web: Hosted) -> None:
    root = web.root()
    above, now = mint.unverified(root), int(time.time())
    made = mint.child_claims(above, above.grant, KEYS["bob"].key, jti=mint.uuid7(now, bytes(10)), now=now, lifetime=60)
    assert web.introspect(mint.token.sign(made, KEYS["alice"])) == INACTIVE


def test_an_agent_learns_of_its_own_lineage_and_of_no_other(web: Hosted) -> None:
    root, other = web.root("alice"), web.root("bob")
    child = web.child(root)
    assert web.introspect(root, "alice")["active"]
    assert web.introspect(child, "alice")["active"]
    assert web.introspect(root, "bob")["active"], "it lies above what bob holds"
    assert web.introspect(other, "alice") == INACTIVE
    assert web.introspect(digest(other), "alice") == INACTIVE
    assert web.introspect(other, "bob")["active"]
    assert web.introspect(root, Role.AGENT.value) == INACTIVE


ENDINGS = {
    "revoked": lambda web, root, child: web.authority.revoke(embedded(), Revoke(mint.unverified(child).digest, "x")),
    "an ancestor revoked": lambda web, root, child: web.authority.revoke(
        embedded(), Revoke(mint.unverified(root).digest, "x")
    ),
    "its holder revoked": lambda web, root, child: web.authority.revoke(
        embedded(), Revoke(cause="x", named=Named("holder", KEYS["bob"].key.thumbprint))
    ),
    "everything suspended": lambda web, root, child: web.authority.steering.suspend(
        embedded(), "everything", "", "an exercise"
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_does_not_stand_is_inactive_and_nothing_else(host: Host, name: str) -> None:
    web = host()
    root = web.root()
    child = web.child(root)
    assert web.introspect(child)["active"]
    ENDINGS[name](web, root, child)
    assert web.introspect(child) == INACTIVE
    assert web.introspect(digest(child)) == INACTIVE


def test_what_has_expired_is_inactive(host: Host) -> None:
    ahead = [0.0]
    web = host(clock=lambda: time.time() + ahead[0])
    token = web.root(lifetime=60)
    assert web.introspect(token)["active"]
    ahead[0] = 61.0
    assert web.introspect(token) == INACTIVE


def test_a_revocation_stands_when_it_is_answered_and_falls_on_all_beneath(web: Hosted) -> None:
    for who, named in (("issuer", digest), ("operator", str)):
        root = web.root()
        child = web.child(root)
        answered = web.post("/revoke", who, token=named(root), token_type_hint="access_token")
        assert (answered.status_code, answered.content) == (200, b"")
        assert [web.introspect(token) for token in (root, child)] == [INACTIVE] * 2
        assert web.post("/revoke", who, token=named(root)).status_code == 200, "twice is once"


@pytest.mark.parametrize("who", ["alice", "agent", "auditor", "enforcement_point", "approver"])
def test_no_other_role_revokes(web: Hosted, who: str) -> None:
    token = web.root()
    assert web.post("/revoke", who, token=token).status_code == 403
    assert web.introspect(token)["active"]


def send(web: Hosted, body: bytes, kind: str = FORM, path: str = "/introspect", **headers: str) -> httpx.Response:
    return web.client.post(path, content=body, headers={**bearer("operator"), "Content-Type": kind, **headers})


FORMS: dict[str, tuple[int, bytes, str]] = {
    "nothing": (400, b"", FORM),
    "no token": (400, b"token_type_hint=x", FORM),
    "a token without a value": (400, b"token=", FORM),
    "twice": (400, b"token=x&token=x", FORM),
    "a hint twice": (400, b"token=x&token_type_hint=a&token_type_hint=b", FORM),
    "twice, once empty": (400, b"token=&token=x", FORM),
    "twice, once escaped": (400, b"token=x&%74oken=x", FORM),
    "no pairs": (400, b"token", FORM),
    "bytes": (400, b"token=\xff", FORM),
    "escaped bytes": (400, b"token=%ff", FORM),
    "too many": (400, b"&".join(b"a%d=1" % n for n in range(17)), FORM),
    "json": (415, b'{"token":"x"}', "application/json"),
    "a file": (415, b"token=x", "multipart/form-data; boundary=x"),
    "no kind": (415, b"token=x", ""),
    "another alphabet": (415, b"token=x", f"{FORM}; charset=utf-16"),
    "too large": (413, b"token=" + b"x" * MAX_BODY, FORM),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
def test_a_form_is_strict(web: Hosted, path: str, name: str) -> None:
    code, body, kind = FORMS[name]
    answered = send(web, body, kind, path)
    told = answered.json()
    assert (answered.status_code, told["error"], answered.headers["cache-control"]) == (
        code,
        "invalid_request",
        "no-store",
    )
    assert told.keys() == {"error", "error_description"}
    fine = send(web, b"token=x&unknown=1&token_type_hint=&resource=", f"{FORM}; charset=UTF-8", path)
    assert fine.status_code == 200, "an unknown parameter is passed over (RFC 6749 s3.2)"


def test_a_body_without_a_length_has_the_same_bound(web: Hosted) -> None:
    def parts(size: int) -> list[bytes]:
        return [b"token=", *[b"x" * 1024] * size]

    url = f"{web.url}/introspect"
    headers = {**bearer("operator"), "Content-Type": FORM}
    with httpx.Client(trust_env=False) as client:
        assert client.post(url, headers=headers, content=iter(parts(8))).json() == INACTIVE
        assert client.post(url, headers=headers, content=iter(parts(65))).status_code == 413


def test_no_token_travels_in_the_url(web: Hosted) -> None:
    token = web.root()
    answered = web.client.post(
        "/introspect", params={"token": token}, data={"token": token}, headers=bearer("operator")
    )
    assert (answered.status_code, answered.json()["error"]) == (400, "invalid_request")
    assert web.client.post(f"/introspect?access_token={'x' * 40}", data={"token": token}).status_code == 401


@pytest.mark.parametrize("host_header", ["[", "a b", "x:99999999", "[::1]"])
def test_the_host_that_a_client_names_decides_nothing(web: Hosted, host_header: str) -> None:
    shown = {**bearer("operator"), "Host": host_header}
    assert web.client.post("/introspect", data={"token": "x"}, headers=shown).json() == INACTIVE


def test_a_compressed_body_is_not_opened(web: Hosted) -> None:
    assert send(web, b"token=x", **{"Content-Encoding": "gzip"}).status_code == 415
    assert send(web, b"token=x").status_code == 200


def test_an_unexpected_error_is_told_by_its_place_in_the_log_and_to_nobody_by_its_text(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = host()
    token = web.root()

    def burst(*_: object) -> None:
        raise RuntimeError(f"a secret: {token}")

    with monkeypatch.context() as patched:
        patched.setattr(web.authority.watch, "introspect", burst)
        patched.setattr(web.authority, "status_list", burst)
        for answered in (web.post("/introspect", token=token), web.client.get("/lists/1")):
            assert (answered.status_code, answered.json()) == (500, {"error": "server_error"})
    assert web.introspect(token)["active"]
    assert len([line for line in web.lines() if line.get("event") == "failed"]) == 2
    assert token not in web.log.getvalue()


def test_a_ledger_that_stopped_is_no_server(host: Host) -> None:
    web = host()
    token = web.root()
    web.authority.close()
    answered = web.post("/revoke", "operator", token=token)
    assert (answered.status_code, answered.json()["error"]) == (503, "temporarily_unavailable")
    assert answered.headers["retry-after"]


def test_a_persons_token_speaks_for_them_also_while_their_provider_turns_its_keys(host: Host) -> None:
    now = time.time()
    with serving("a") as provider:
        told = IdentitySettings(oidc=[{"issuer": provider.issuer, "audience": [PEP], "jwks_uri": provider.uri}])
        audit = {"name": "dana", "roles": ["auditor"], "oidc": {"issuer": provider.issuer, "subject": "dana"}}
        people = people_of(told)
        assert people is not None
        web = host(identity=told, callers=[audit], people=people)
        root = web.root()

        def asked(key: str, sub: str = "dana") -> httpx.Response:
            said = claims_of_person(iss=provider.issuer, aud=PEP, sub=sub, iat=int(now), exp=int(now) + 300)
            shown = {"Authorization": f"Bearer {person(said, key)}"}
            return web.client.post("/introspect", data={"token": root}, headers=shown)

        assert asked("a").json()["active"]
        assert asked("a", "eve").status_code == 401
        provider.keys = jwks("a", "c")
        assert asked("c").json()["active"], "the key was read anew while the call waited"
        assert asked("d").status_code == 401
        people.close()


def test_a_jwt_svid_speaks_for_its_workload(host: Host, tmp_path: Path) -> None:
    domain = DevAuthority("acme.test", time.time, 3600)
    (tmp_path / "acme.json").write_text(
        json.dumps({"keys": [{**key, "use": "jwt-svid"} for key in domain.jwt_keys], "spiffe_sequence": 1})
    )
    bundles = [{"trust_domain": "acme.test", "file": tmp_path / "acme.json"}]
    identity = {"jwt_audience": [PEP], "bundles": bundles}
    source = source_of(IdentitySettings(**identity))
    assert source is not None
    audit = {"name": "audit", "roles": ["auditor"], "spiffe": "spiffe://acme.test/audit"}
    web = host(identity=identity, callers=[audit], workloads=Channels(source, time.time, [PEP], mutual=False))
    token = web.root()

    def asked(name: str, audience: str = PEP) -> httpx.Response:
        shown = {"Authorization": f"Bearer {domain.token(f'spiffe://acme.test/{name}', [audience])}"}
        return web.client.post("/introspect", data={"token": token}, headers=shown)

    assert asked("audit").json()["active"]
    assert [asked("nobody").status_code, asked("audit", "https://else.example").status_code] == [401, 401]
    source.close()
