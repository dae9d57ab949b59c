"""`chain policy`, as an operator types it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.bundles import default
from chain.bundles import read as read_folder
from chain.caller import embedded
from chain.cli import main
from chain.cli.composition import authority
from chain.client import AsyncClient
from chain.errors import PolicyError
from chain.request import Request
from chain.service.settings import ServeSettings
from tests.cli.conftest import Ended
from tests.policy.folder import ANY_HOP, ANYTHING, bundle
from tests.service.conftest import PEP, World, configuration, secret

Serve = Callable[..., Any]
FORBID = '@id("stop") forbid (principal, action == Chain::Action::"read", resource);'


def folder(place: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


def run(*arguments: str | Path) -> Ended:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    return Ended(result.exit_code, result.stdout, result.stderr)


def policy(*arguments: str | Path) -> Ended:
    return run("policy", *arguments)


def test_a_new_bundle_begins_with_the_one_that_ships(tmp_path: Path) -> None:
    place = tmp_path / "mine"
    assert policy("init", place).code == 0
    assert read_folder(place) == default()
    again = policy("init", place)
    assert (again.code, "is not empty" in again.err) == (2, True)
    valid = policy("validate", place, "--json")
    assert (valid.code, valid.json["cases"], len(valid.json["rules"])) == (0, 49, 17)
    tested = policy("test", place)
    assert (tested.code, tested.out.splitlines()[-1]) == (0, "49 cases, all as they say")


def test_a_broken_bundle_is_told_with_its_place(tmp_path: Path) -> None:
    text = '\n@id("a")\npermit (principal, action, resource) when { principal.knd == "x" };'
    place = folder(tmp_path / "a", bundle(text))
    for command in (("validate", place), ("test", place), ("diff", place, place), ("show", place)):
        ended = policy(*command)
        assert ended.code == 2
        assert "rules.cedar:2: `a`: attribute `knd`" in ended.err
    assert policy("validate", place, "--json").json["error"] == "policy_invalid"
    assert policy("validate", tmp_path / "nowhere").code == 2
    (tmp_path / "empty").mkdir()
    assert "holds no bundle" in policy("validate", tmp_path / "empty").err


def test_a_case_that_failed_is_exit_one(tmp_path: Path) -> None:
    cases = (
        '[[case]]\nname = "reads \x1b[31m"\nexpect = "deny"\n\n[[case]]\nname = "acts"\ntool = "x"\nexpect = "permit"'
    )
    place = folder(tmp_path / "a", bundle(ANYTHING, **{"cases/a.toml": cases.replace("\x1b", "\\u001b")}))
    ended = policy("test", place)
    assert ended.code == 1
    assert "expected deny, got permit" in ended.out
    assert "2 cases, 1 failed" in ended.out
    assert "\x1b" not in ended.out
    told = policy("test", place, "--json")
    assert (told.code, told.json["failed"], [one["passed"] for one in told.json["cases"]]) == (1, 1, [False, True])
    empty = folder(tmp_path / "b", bundle())
    assert (policy("test", empty).code, policy("test", empty).out) == (0, "no cases: nothing was tested\n")


def test_two_folders_are_compared_offline(tmp_path: Path) -> None:
    before, after = folder(tmp_path / "a", bundle()), folder(tmp_path / "b", bundle(ANYTHING + FORBID))
    ended = policy("diff", before, after)
    assert ended.code == 0
    assert ended.out.startswith("narrower: ")
    assert "permit (call) -> deny (stop)" in ended.out
    told = policy("diff", after, before, "--json").json
    assert told["relation"] == "wider"
    assert told["witnesses"][0]["after"] == {"word": "permit", "people": 0, "rules": ["call"]}
    same = policy("diff", before, before)
    assert same.out == "equal: 0 requests tried\n  the rules are the same\n"
    assert policy("diff", before).code == 2
    assert policy("diff", before, after, before).code == 2


def test_rules_are_shown_and_written(tmp_path: Path) -> None:
    place = folder(tmp_path / "a", default())
    ended = policy("show", place, "--out", tmp_path / "copy")
    assert ended.code == 0
    assert "approval.critical" in ended.out
    assert "forbid until 2" in ended.out
    assert read_folder(tmp_path / "copy") == default()
    assert policy("show", place, "--digest", "x").code == 2
    assert policy("show").code == 2


async def test_a_servers_policy_is_activated_shown_compared_and_replayed(serve: Serve, tmp_path: Path) -> None:
    world: World = await serve()
    token = await world.root()
    secret_file = tmp_path / "operator.secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text(secret("operator"))
    where = ("--server", world.server.address, "--credential-file", secret_file, "--timeout", "20")
    place = folder(tmp_path / "a", bundle())
    narrow = folder(tmp_path / "b", bundle(ANY_HOP))

    async def typed(*arguments: str | Path) -> Ended:
        return await asyncio.to_thread(policy, *arguments, *where)

    none = await typed("show")
    assert (none.code, "no policy is active" in none.err) == (1, True)
    first = (await typed("activate", place, "--json")).json
    assert (first["previous"], len(first["digest"])) == ("", 43)
    assert f"bundle {first['digest']}: 3 rules, no cases" in (await typed("show")).out
    async with AsyncClient(world.server.address, secret("point"), timeout=20) as point:
        proof = world.proof("alice", token, "mail.read", {"folder": "in"})
        request = Request(tool="mail.read", arguments={"folder": "in"}, audience=PEP, proof=proof)
        assert (await point.check([token], request)).allowed
    compared = await typed("diff", narrow, "--replay", "--json")
    assert (compared.json["relation"], compared.json["replayed"], len(compared.json["flips"])) == ("narrower", 1, 1)
    told = await typed("diff", place, narrow, "--replay", "5")
    assert "1 of 1 recorded checks would come out otherwise" in told.out
    assert "mail.read: ALLOW -> DENY" in told.out
    broken = await typed("activate", folder(tmp_path / "c", bundle("permit (principal, action, resource);")))
    assert (broken.code, "rules.cedar:1: " in broken.err) == (2, True)
    assert (await typed("show", "--json")).json["digest"] == first["digest"]
    off = await typed("activate", "--none")
    assert (off.code, "active: none" in off.out) == (0, True)
    old = await typed("show", "--digest", first["digest"], "--out", tmp_path / "old", "--json")
    assert (old.code, old.json["active"]) == (0, False)
    assert read_folder(tmp_path / "old") == bundle()
    assert (await typed("activate")).code == 2
    assert (await typed("activate", place, "--none")).code == 2


def settings(directory: Path, **changes: object) -> ServeSettings:
    return ServeSettings(**configuration(directory, issuer=None, issuer_key=None, **changes))


def test_a_server_begins_with_the_bundle_that_it_is_told(directory: Path) -> None:
    shipped = authority(settings(directory, policy="default"))
    assert shipped.policies.digest
    shipped.close()
    own = authority(settings(directory, policy=folder(directory / "own", bundle())))
    assert own.policies.digest not in ("", shipped.policies.digest)
    own.close()
    none = authority(settings(directory, policy="none"))
    assert none.policies.digest == ""
    none.close()


def test_a_broken_bundle_keeps_a_server_from_starting(directory: Path) -> None:
    broken = folder(directory / "broken", bundle("permit (principal, action, resource);"))
    with pytest.raises(PolicyError, match=r"rules\.cedar:1"):
        authority(settings(directory, policy=broken))
    with pytest.raises(PolicyError, match="no folder"):
        authority(settings(directory, policy=directory / "nowhere"))
    authority(settings(directory, policy="none")).close()


def test_the_ledger_says_which_goes_on_after_a_restart(directory: Path) -> None:
    own = folder(directory / "own", bundle())
    first = authority(settings(directory, ledger=directory / "ledger", policy=own))
    digest = first.policies.digest
    first.close()
    again = authority(settings(directory, ledger=directory / "ledger"))
    assert again.policies.digest == digest, "the setting is for a ledger that says nothing yet"
    again.policies.activate(embedded(), None)
    again.close()
    last = authority(settings(directory, ledger=directory / "ledger"))
    assert last.policies.digest == "", "put out of force, it stays so"
    last.close()


def test_the_help_names_the_setting() -> None:
    ended = run("serve", "--help")
    assert ended.code == 0
    assert "--policy" in ended.out
    assert "bundle to begin with" in " ".join(ended.out.split())
