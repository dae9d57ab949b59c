"""How it goes, for Prometheus: a page that whoever may see what is stopped may read.

The law of this file: numbers alone, under labels out of the vocabulary; no name of a caller, agent, tool or task.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from chain.authority import Authority
from chain.caller import Caller
from chain.meter import BOUNDS, Spread
from chain.web.reply import reply

METRICS = "/metrics"

ASKS = "ListSuspensions"
"""The RPC whose roles may read it."""


class Metrics(Collector):
    """Reads an authority's counts."""

    def __init__(self, authority: Authority) -> None:
        """Read this authority."""
        self._authority = authority
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def answer(self, _caller: Caller, _request: Request) -> Response:
        """Return the page."""
        return reply(200, generate_latest(self._registry), CONTENT_TYPE_LATEST)

    def collect(self) -> Iterator[Metric]:
        """Yield everything that is measured."""
        authority, counted = self._authority, self._authority.meter.counted()
        checks = CounterMetricFamily("chain_checks", "Calls that were decided.", labels=["effect", "reason"])
        for names, count in sorted(counted.checks.items()):
            checks.add_metric(names, count)
        yield checks
        seconds = HistogramMetricFamily(
            "chain_check_seconds",
            "Seconds from the question to the answer, its record included; `depth` is that of the leaf, none where no "
            "authentic chain was presented.",
            labels=["depth"],
        )
        for depth, spread in sorted(counted.seconds.items(), key=lambda one: -1 if one[0] is None else one[0]):
            seconds.add_metric(["none" if depth is None else str(depth)], _buckets(spread), spread.total)
        yield seconds
        memory = CounterMetricFamily(
            "chain_verifier_memory", "Chains that were verified before: whole, in part, or not.", labels=["known"]
        )
        for known, count in authority.verifier.memory.items():
            memory.add_metric([known], count)
        yield memory
        yield CounterMetricFamily(
            "chain_unauthentic_chains", "Chains of which not even the root was authentic.", authority.garbage
        )
        revision = GaugeMetricFamily(
            "chain_revision",
            "The ledger's last revision: written, on power-safe storage, and covered by a checkpoint.",
            labels=["state"],
        )
        written, synced, signed = authority.revisions
        for state, last in (("written", written), ("synced", synced), ("signed", signed)):
            revision.add_metric([state], last)
        yield revision
        yield GaugeMetricFamily("chain_revision_lag", "Records that a power cut would take.", max(0, written - synced))
        yield GaugeMetricFamily("chain_ledger_failed", "1 once nothing is permitted any more.", authority.failed)


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    """Return a spread as Prometheus counts it: each bucket holds those before."""
    return list(zip((*map(str, BOUNDS), "+Inf"), accumulate(spread.counts), strict=True))
