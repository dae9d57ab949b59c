"""What Prometheus reads, judged by its own parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chain.caller import Caller, Role
from chain.reason import Reason
from chain.request import Request

from .conftest import Host
from .hosted import KEYS, PEP, Hosted, bearer


@pytest.fixture
def web(host: Host, tmp_path: Path) -> Hosted:
    catalogue = tmp_path / "catalogue.json"
    catalogue.write_text('{"mail.read": "read"}')
    return host(catalogue=catalogue)


def read(web: Hosted, who: str = "auditor") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, by name and labels."""
    answered = web.client.get("/metrics", headers=bearer(who))
    assert answered.status_code == 200
    assert answered.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answered.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def ask(web: Hosted, tokens: list[str], tool: str) -> str:
    holder = Caller("alice", frozenset({Role.AGENT}), PEP, KEYS["alice"].key.thumbprint, channel=True)
    request = Request(tool=tool, audience=PEP, purpose="work", holder=holder.holder)
    return web.authority.check(holder, tokens, request).reason.value


def test_calls_are_counted_as_they_were_decided(web: Hosted) -> None:
    root = web.root()
    before = read(web)
    assert [ask(web, [root], tool) for tool in ("mail.read", "mail.read", "bank.pay")] == [
        "allowed", "allowed", "tool_not_granted",
    ]  # fmt: skip
    assert ask(web, ["a.b.c"], "mail.read") == Reason.TOKEN_MALFORMED
    after = read(web)
    labels = [("effect", "ALLOW"), ("reason", "allowed")]
    assert ("chain_checks_total", tuple(labels)) not in before
    assert after["chain_checks_total", tuple(labels)] == 2
    assert after["chain_checks_total", (("effect", "DENY"), ("reason", "tool_not_granted"))] == 1
    assert after["chain_unauthentic_chains_total", ()] == 1
    assert after["chain_verifier_memory_total", (("known", "whole"),)] >= 2
    assert after["chain_ledger_failed", ()] == 0
    written, synced = (after["chain_revision", (("state", state),)] for state in ("written", "synced"))
    assert written >= synced > 0
    assert after["chain_revision_lag", ()] == written - synced


def test_seconds_stand_by_depth_where_there_is_a_clock_for_them(web: Hosted) -> None:
    steps = iter(n * 0.001 for n in range(100))
    web.authority.meter._steady = lambda: next(steps)
    assert ask(web, [web.root()], "mail.read") == "allowed"
    told = read(web)
    buckets = {dict(labels)["le"]: value for (name, labels), value in told.items() if name.endswith("seconds_bucket")}
    assert buckets["0.0005"] == 0
    assert buckets["0.0025"] == buckets["+Inf"] == 1
    assert list(buckets.values()) == sorted(buckets.values())
    assert told["chain_check_seconds_count", (("depth", "0"),)] == 1


def test_no_name_is_in_it_that_somebody_chose(web: Hosted) -> None:
    root = web.root(sub="a-person-named-x", task="a-task-named-y")
    ask(web, [root], "a.tool.named.z")
    text = web.client.get("/metrics", headers=bearer("operator")).text
    assert "tool_not_granted" in text
    for name in ("a-person-named-x", "a-task-named-y", "a.tool.named.z", "alice", "auditor", root):
        assert name not in text


def test_only_overseers_read_it(web: Hosted) -> None:
    told = {role: web.client.get("/metrics", headers=bearer(role.value)).status_code for role in Role}
    assert {role for role, status in told.items() if status == 200} == {Role.AUDITOR, Role.OPERATOR}
    assert web.client.get("/metrics").status_code == 401
