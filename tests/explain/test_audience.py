"""Who explains states the enforcement point that would ask: auditors and operators are none, and have no audience."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from chain.cli import main
from chain.client import AsyncClient, Client
from chain.explain import Explanation
from chain.reason import Reason
from chain.service.server import ChainServer
from tests.client.running import secret, serving, settings
from tests.explain.denied import Denied
from tests.support import BOB, PEP, World, honest, root

OTHER = "https://other.example"


class Bound(NamedTuple):
    """A chain for one enforcement point, and a service that knows it."""

    denied: Denied
    address: str

    def told(self, caller: str, audience: str | None, by: str = OTHER) -> Explanation:
        """Explain a call that was made through `by`."""
        asked = Denied(self.denied.world, self.denied.tokens, BOB, facts={"audience": by}).request()
        with Client(self.address, secret(caller), timeout=20) as client:
            return client.explain(self.denied.tokens, asked, audience)


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Bound]:
    denied = Denied(World(), honest(2, root(aud=OTHER)), BOB, facts={"audience": OTHER})
    with serving(lambda: ChainServer(denied.world.authority, settings(tmp_path), log=io.StringIO())) as server:
        yield Bound(denied, server.address)


def test_an_operator_states_an_audience(bound: Bound) -> None:
    assert bound.told("operator", None).decision.reason is Reason.AUDIENCE_MISSING
    assert bound.told("operator", OTHER).decision.allowed
    assert bound.told("operator", PEP, PEP).decision.reason is Reason.AUDIENCE_MISMATCH


def test_the_callers_own_stands_where_none_is_stated(bound: Bound) -> None:
    assert bound.told("point", None, PEP).decision.reason is Reason.AUDIENCE_MISMATCH
    assert bound.told("point", OTHER).decision.allowed


def test_a_proof_for_another_audience_is_none(bound: Bound) -> None:
    reasons = {finding.reason for finding in bound.told("operator", OTHER, PEP).decision.findings}
    assert reasons == {Reason.PROOF_AUDIENCE_MISMATCH}


def test_what_is_explained_is_not_permitted(bound: Bound) -> None:
    with Client(bound.address, secret("point"), timeout=20) as client:
        assert client.check(bound.denied.tokens, bound.denied.request()).reason is Reason.AUDIENCE_MISMATCH


def test_both_clients_state_it(bound: Bound) -> None:
    async def ask() -> Explanation:
        async with AsyncClient(bound.address, secret("operator"), timeout=20) as client:
            return await client.explain(bound.denied.tokens, bound.denied.request(), OTHER)

    assert asyncio.run(ask()).decision.allowed


@pytest.mark.parametrize(
    ("stated", "code", "reason"), [((), 1, "audience_missing"), (("--audience", OTHER), 0, "allowed")]
)
def test_the_command_states_it(bound: Bound, tmp_path: Path, stated: tuple[str, ...], code: int, reason: str) -> None:
    (tmp_path / "chain").write_text("\n".join(bound.denied.tokens))
    (tmp_path / "operator").touch(0o600)
    (tmp_path / "operator").write_text(secret("operator"))
    where = ("--server", bound.address, "--credential-file", str(tmp_path / "operator"), "--timeout", "20", "--json")
    asked = ("explain", "bank.pay", '{"amount":5}', "--chain", str(tmp_path / "chain"))
    result = CliRunner().invoke(main, [*asked, f"--proof={bound.denied.request().proof}", *stated, *where])
    assert (result.exit_code, json.loads(result.stdout)["reason"]) == (code, reason)
