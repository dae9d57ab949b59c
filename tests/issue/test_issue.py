"""What a root has to name, and how long it may live: each refusal beside what is issued."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain import mint
from chain.catalog import Catalogue
from chain.cli import main
from chain.errors import InvalidRequestError
from chain.issuance import lifetime, require_named
from chain.order import Issue
from chain.reason import Reason
from chain.service.settings import load
from chain.service.tables import LifetimeSettings
from chain.state import DEFAULT_LIFETIME, MAX_LIFETIME, MUST_NAME, Settings
from tests.support import ALICE, World

CATALOGUE = Catalogue.model_validate(
    {
        "web.search": {"class": "read", "sensitivity": "low"},
        "mail.read": {"class": "read", "sensitivity": "moderate"},
        "mail.send": {"class": "write", "sensitivity": "high"},
        "bank.pay": {"class": "act", "sensitivity": "critical"},
    }
)
SERVICE = Settings(lifetimes=LifetimeSettings().ceilings)


def order(*tools: str, **changes: Any) -> Issue:
    grant = mint.grant({"tools": {name: {} for name in tools}, "limits": {"purposes": ["travel"]}})
    return Issue(holder=ALICE.key, grant=grant, owner="team", task="t1", **changes)


WITHOUT: dict[str, tuple[Issue, str]] = {
    "owner": (replace(order("mail.read"), owner=None), "no `owner` who answers for it"),
    "an owner without a name": (replace(order("mail.read"), owner=""), "no `owner` who answers for it"),
    "task": (replace(order("mail.read"), task=None), "no `task` that it is for"),
    "purposes": (
        replace(order("mail.read"), grant=mint.grant({"tools": {"mail.read": {}}})),
        "no `purposes` among its limits",
    ),
    "any purpose": (
        replace(order("mail.read"), grant=mint.grant({"tools": {"mail.read": {}}, "limits": {"purposes": []}})),
        "no `purposes` among its limits",
    ),
    "all of it": (
        Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}})),
        "no `owner` who answers for it, no `purposes` among its limits, no `task` that it is for",
    ),
}


def test_there_are_as_many_as_we_think() -> None:
    assert len(WITHOUT) == 6
    assert len(CEILINGS) == 7


@pytest.mark.parametrize("name", WITHOUT)
def test_a_root_that_nobody_answers_for_is_not_issued(name: str) -> None:
    world = World(accountable=True)
    wrong, said = WITHOUT[name]
    revision = world.authority.revision
    with pytest.raises(InvalidRequestError) as raised:
        world.authority.issue(world.caller, wrong)
    assert (raised.value.reason, raised.value.detail) == (Reason.FACT_MISSING, f"the root names {said}")
    assert world.authority.revision == revision
    assert world.authority.issue(world.caller, order("mail.read")).task == "t1"


def test_a_deployment_may_ask_for_less_and_says_so() -> None:
    plain = WITHOUT["all of it"][0]
    with pytest.raises(InvalidRequestError):
        require_named(plain, Settings())
    require_named(plain, Settings(roots_must_name=frozenset()))
    for name in ("owner", "purposes", "task"):
        rest = Settings(roots_must_name=MUST_NAME - {name})
        with pytest.raises(InvalidRequestError):
            require_named(WITHOUT[name][0], Settings())
        require_named(WITHOUT[name][0], rest)


CEILINGS: dict[tuple[str, ...], tuple[int, str]] = {
    ("web.search",): (7200, "`web.search` (`low`)"),
    ("mail.read",): (3600, "`mail.read` (`moderate`)"),
    ("mail.send",): (1800, "`mail.send` (`high`)"),
    ("bank.pay",): (900, "`bank.pay` (`critical`)"),
    ("nobody.knows",): (900, "`nobody.knows` (`critical`, as no catalogue lists it)"),
    ("web.search", "mail.send", "mail.read"): (1800, "`mail.send` (`high`)"),
    (): (MAX_LIFETIME, "any token"),
}


@pytest.mark.parametrize("tools", CEILINGS)
def test_the_most_sensitive_tool_says_how_long(tools: tuple[str, ...]) -> None:
    ceiling, whose = CEILINGS[tools]
    assert lifetime(order(*tools, lifetime=ceiling), CATALOGUE, SERVICE) == ceiling
    assert lifetime(order(*tools, lifetime=1), CATALOGUE, SERVICE) == 1
    assert lifetime(order(*tools), CATALOGUE, SERVICE) == min(ceiling, DEFAULT_LIFETIME)
    with pytest.raises(InvalidRequestError) as raised:
        lifetime(order(*tools, lifetime=ceiling + 1), CATALOGUE, SERVICE)
    assert raised.value.reason is Reason.LIFETIME_EXCEEDED
    assert raised.value.detail == f"a lifetime of {ceiling + 1} s, above the {ceiling} s of {whose}"
    with pytest.raises(InvalidRequestError, match=r"^a lifetime of 0 s "):
        lifetime(order(*tools, lifetime=0), CATALOGUE, SERVICE)


def test_a_class_has_a_ceiling_of_its_own_where_one_is_set() -> None:
    settings = Settings(lifetimes={"read": 60, "moderate": 3600})
    with pytest.raises(InvalidRequestError, match=r"above the 60 s of `mail.read` \(`read`\)"):
        lifetime(order("mail.read", lifetime=61), CATALOGUE, settings)
    assert lifetime(order("mail.read"), CATALOGUE, settings) == 60
    assert lifetime(order("mail.send"), CATALOGUE, settings) == DEFAULT_LIFETIME
    assert LifetimeSettings(act=60).ceilings == LifetimeSettings().ceilings | {"act": 60}


def test_the_default_is_what_an_order_gets_that_asks_for_nothing() -> None:
    """It is never above a ceiling, and never below what somebody asks for."""
    settings = Settings(default_lifetime=120, lifetimes={"moderate": 600})
    assert lifetime(order("mail.read"), CATALOGUE, settings) == 120
    assert lifetime(order("mail.read", lifetime=600), CATALOGUE, settings) == 600
    assert lifetime(order("mail.read"), CATALOGUE, replace(settings, max_lifetime=60)) == 60


def test_a_retry_of_an_order_that_asks_for_nothing_is_the_same_order() -> None:
    world = World(accountable=True)
    first = world.authority.issue(world.caller, order("mail.read"), "key")
    assert first.exp - first.iat == DEFAULT_LIFETIME
    world.clock.now += 60
    assert world.authority.issue(world.caller, order("mail.read"), "key") == first


CONFIGURATION = """
listen = "127.0.0.1:0"
ledger = "{folder}/ledger"
audience = "https://chain.example"
issuer = "https://issuer.example"
issuer_key = "{folder}/issuer.key"
catalogue = "{folder}/catalogue.json"
anchors = [{{ jwk_file = "{folder}/issuer.jwk", iss = "https://issuer.example" }}]
callers = [{{ name = "desk", roles = ["issuer"], credentials = ["{hash}"] }}]
agents = [{{ jwk_file = "{folder}/agent.jwk", id = "spiffe://example.org/agent", owner = "team" }}]
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    for name in ("issuer", "agent"):
        line = ["keygen", str(tmp_path / f"{name}.key"), "--public", str(tmp_path / f"{name}.jwk")]
        assert CliRunner().invoke(main, line).exit_code == 0
    (tmp_path / "catalogue.json").write_text(CATALOGUE.model_dump_json(by_alias=True))
    (tmp_path / "chain.toml").write_text(CONFIGURATION.format(folder=tmp_path, hash="a" * 64))
    return tmp_path


def issue(desk: Path, tool: str, *more: str) -> tuple[int, dict[str, Any]]:
    grant = json.dumps({"tools": {tool: {}}, "limits": {"purposes": ["travel"]}})
    line = ("issue", "--to", str(desk / "agent.jwk"), "--grant", grant, "--ledger", str(desk), "--json", *more)
    result = CliRunner().invoke(main, line)
    return result.exit_code, json.loads(result.stdout)


def test_what_the_service_does_that_was_told_nothing_of_it(desk: Path) -> None:
    """The settings of `chain serve`, through the command line."""
    told = load(["--config", str(desk / "chain.toml")])
    assert (told.roots_must_name, told.lifetimes, told.default_lifetime) == (MUST_NAME, LifetimeSettings(), 3600)
    named = ("--owner", "team", "--task", "t1")
    assert issue(desk, "bank.pay", "--owner", "team") == (
        2,
        {"error": "fact_missing", "detail": "the root names no `task` that it is for"},
    )
    code, refused = issue(desk, "bank.pay", *named, "--lifetime", "1h")
    assert (code, refused["error"]) == (2, "lifetime_exceeded")
    assert refused["detail"] == "a lifetime of 3600 s, above the 900 s of `bank.pay` (`critical`)"
    for tool, seconds in {"bank.pay": 900, "mail.read": 3600, "web.search": 3600}.items():
        code, made = issue(desk, tool, *named)
        claims = mint.unverified(made["tokens"][0]).claims
        assert (code, claims.exp - claims.iat) == (0, seconds)
    assert issue(desk, "web.search", *named, "--lifetime", "2h")[0] == 0


def test_who_holds_the_issuers_key_itself_is_not_asked(desk: Path) -> None:
    """Offline nobody refuses: it is the key's owner who signs, for an hour where nothing is said."""
    line = ["issue", "--to", str(desk / "agent.jwk"), "--grant", '{"tools": {"bank.pay": {}}}']
    line += ["--key", str(desk / "issuer.key"), "--issuer", "https://issuer.example"]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0
    claims = mint.unverified(result.stdout.strip()).claims
    assert claims.exp - claims.iat == 3600
