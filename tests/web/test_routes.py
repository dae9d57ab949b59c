"""Every route, by everybody: what strangers may read, what a role may ask, and what nobody finds."""

from __future__ import annotations

import pytest

from chain.caller import ALLOWED, Role
from chain.web.app import Row
from chain.web.reply import STRICT

from .hosted import FORM, Hosted, bearer, secret

GARBAGE = {
    "nothing": {},
    "empty": {"Authorization": ""},
    "no secret": {"Authorization": "Bearer"},
    "unknown": {"Authorization": "Bearer " + "x" * 40},
    "no scheme": {"Authorization": secret("operator")},
    "another scheme": {"Authorization": "Basic b3BlcmF0b3I6eA=="},
    "longer": {"Authorization": f"Bearer {secret('operator')}x"},
    "a broken token": {"Authorization": "Bearer a.b.c"},
    "in a cookie": {"Cookie": f"access_token={secret('operator')}"},
}

TWICE = [("Authorization", f"Bearer {secret('operator')}")] * 2


@pytest.fixture(scope="module")
def rows(web: Hosted) -> list[Row]:
    return web.side.rows


def ask(web: Hosted, row: Row, headers: object, verb: str = "") -> tuple[int, object]:
    body = b"token=x" if row.verb == "POST" else None
    kind = {"Content-Type": FORM} if body else {}
    pairs = [*headers.items()] if isinstance(headers, dict) else list(headers)  # type: ignore[call-overload]
    answered = web.client.request(verb or row.verb, row.path, content=body, headers=[*pairs, *kind.items()])
    for name, value in STRICT.items():
        assert answered.headers[name] == value, (row.path, name)
    assert "cache-control" in answered.headers
    assert not {"server", "access-control-allow-origin", "set-cookie"} & answered.headers.keys()
    return answered.status_code, answered


def test_the_table_is_what_is_served(rows: list[Row]) -> None:
    assert {(row.path, row.verb, row.asks) for row in rows} == {
        ("/healthz", "GET", ""),
        ("/.well-known/jwks.json", "GET", ""),
        ("/.well-known/oauth-authorization-server", "GET", ""),
        ("/lists/1", "GET", ""),
        ("/introspect", "POST", "GetDelegation"),
        ("/revoke", "POST", "Revoke"),
        ("/metrics", "GET", "ListSuspensions"),
    }


def test_what_is_public_is_the_same_for_everybody(web: Hosted, rows: list[Row]) -> None:
    tried = 0
    for row in (row for row in rows if not row.asks):
        told = [ask(web, row, headers) for headers in (*GARBAGE.values(), *(bearer(role.value) for role in Role))]
        assert {status for status, _ in told} == {200}, row.path
        assert len({answered.content for _, answered in told}) == 1, row.path  # type: ignore[attr-defined]
        tried += len(told)
    assert tried == 4 * (len(GARBAGE) + len(Role))


def test_nobody_asks_without_a_credential_that_is_known(web: Hosted, rows: list[Row]) -> None:
    asked = [row for row in rows if row.asks]
    for row in asked:
        for name, headers in [*GARBAGE.items(), ("two", TWICE)]:
            status, answered = ask(web, row, headers)
            assert status == 401, (row.path, name)
            assert answered.headers["www-authenticate"].startswith("Bearer")  # type: ignore[attr-defined]
            shown = "Authorization" in dict(headers)
            assert answered.content == (b'{"error":"invalid_token"}' if shown else b"")  # type: ignore[attr-defined]
            assert answered.headers["cache-control"] == "no-store"  # type: ignore[attr-defined]
    assert len(asked) == 3


def test_exactly_the_roles_of_the_table_ask(web: Hosted, rows: list[Row]) -> None:
    tried = 0
    for row in (row for row in rows if row.asks):
        for role in Role:
            status, answered = ask(web, row, bearer(role.value))
            alone = row.asks != "Revoke" or role is not Role.AGENT  # an agent revokes over gRPC, with a proof
            assert (status == 200) is (role in ALLOWED[row.asks] and alone), (row.path, role)
            if status != 200:
                assert (status, answered.content) == (403, b'{"error":"insufficient_scope"}')  # type: ignore[attr-defined]
            tried += 1
    assert tried == 3 * len(Role)


def test_a_scheme_has_no_case(web: Hosted, rows: list[Row]) -> None:
    headers = {"Authorization": f"bearer {secret('operator')}"}
    assert [ask(web, row, headers)[0] for row in rows if row.asks] == [200, 200, 200]


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECTED"])
def test_another_method_is_refused(web: Hosted, rows: list[Row], verb: str) -> None:
    for row in rows:
        if row.verb != verb:
            status, answered = ask(web, row, bearer("operator"), verb)
            assert status == 405, (row.path, verb)
            assert row.verb in answered.headers["allow"]  # type: ignore[attr-defined]


def test_a_head_is_the_head_of_what_a_get_would_be(web: Hosted, rows: list[Row]) -> None:
    for row in (row for row in rows if not row.asks):
        head, whole = (web.client.request(verb, row.path) for verb in ("HEAD", "GET"))
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == whole.headers["content-length"] != "0"


@pytest.mark.parametrize(
    "path",
    ["/", "/introspect/", "//introspect", "/Introspect", "/introspect/x", "/docs", "/openapi.json", "/lists/2",
     "/lists/../introspect", "/.well-known/openid-configuration"],
)  # fmt: skip
def test_what_is_not_in_the_table_is_not_found(web: Hosted, path: str) -> None:
    answered = web.client.request("POST", path, headers=bearer("operator"), data={"token": "x"})
    expected = 200 if path == "/lists/../introspect" else 404  # which the client itself resolves
    assert (answered.status_code, answered.headers["cache-control"]) == (expected, "no-store")


def test_the_log_names_the_call_and_the_caller_and_no_secret(web: Hosted) -> None:
    token = web.root()
    answered = web.post("/introspect", token=token)
    line = next(line for line in web.lines() if line.get("request") == answered.headers["x-request-id"])
    assert (line["method"], line["caller"], line["code"]) == ("POST /introspect", "auditor", "200")
    web.client.post("/revoke", headers={"Authorization": "Bearer " + "y" * 40})
    assert "refused" not in line
    assert ("POST /revoke", "", "401", "the bearer credential is not known") in {
        (one.get("method"), one.get("caller"), one.get("code"), one.get("refused")) for one in web.lines()
    }
    for hidden in (secret("auditor"), "y" * 40, token, token.rpartition(".")[2]):
        assert hidden not in web.log.getvalue()
