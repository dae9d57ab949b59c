"""A server on what the demonstration left, and every question that it is asked.

The law of this file: the server and the library answer from one record.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chain.authority import Authority
from chain.caller import embedded
from chain.cli.composition import authority
from chain.client import Client
from chain.graph.asking import Graph
from chain.inquiry import (
    Asked,
    BlastRadius,
    Chokepoints,
    DiffDelegations,
    DiffTimes,
    ExportGraph,
    LeastCut,
    Lineage,
    ReviewAccess,
    WhatCan,
    WhoCan,
    Work,
)
from chain.service.server import ChainServer
from chain.service.settings import load
from tests.client.running import serving

ORCHESTRATOR, RESEARCHER, CLERK = (f"spiffe://demo.example/{name}" for name in ("orchestrator", "researcher", "clerk"))


class Told(NamedTuple):
    """A server on what the demonstration left, and its authority in this process."""

    folder: Path
    server: ChainServer
    library: Graph
    now: float

    def secret(self, name: str = "operator") -> str:
        return (self.folder / "secrets" / f"{name}.secret").read_text().strip()

    def client(self, name: str = "operator") -> Client:
        return Client(self.server.address, credential=self.secret(name))


@pytest.fixture(scope="module")
def told(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("asked") / "kept"
    shutil.copytree(kept, folder)
    configuration = folder / "chain.toml"
    configuration.write_text(configuration.read_text().replace(str(kept), str(folder)))
    settings = load(["--config", str(configuration)])
    held: list[Authority] = []

    def make() -> ChainServer:
        held.append(authority(settings))
        return ChainServer(held[0], settings, log=io.StringIO())

    with serving(make) as server:
        (made,) = held
        now = made.watch.lines(made.watch.synced - 1)[0][0].time / 1000
        yield Told(folder, server, Graph(made, lambda: now), now)


def ids(told: Told) -> list[str]:
    rows = told.library.ask(embedded(), Lineage(ORCHESTRATOR)).rows
    return [str(row["id"]) for row in rows]


def every(told: Told) -> dict[str, Asked]:
    first, *_, last = ids(told)
    return {
        "lineage": Lineage(ORCHESTRATOR),
        "lineage of a delegation": Lineage(last),
        "who can": WhoCan("bank.pay"),
        "who can do just this": WhoCan("bank.pay", arguments={"amount": 50}),
        "who can on a system": WhoCan(target="bank"),
        "what can": WhatCan(RESEARCHER),
        "what can it do with one tool": WhatCan(RESEARCHER, "web.search"),
        "blast radius": BlastRadius(ORCHESTRATOR),
        "least cut": LeastCut(Work(RESEARCHER, "web.search"), (Work(ORCHESTRATOR, "web.search"),)),
        "a cut that cannot be": LeastCut(Work(ORCHESTRATOR, "web.search"), (Work(RESEARCHER, "web.search"),)),
        "choke points": Chokepoints(),
        "choke points of one tool": Chokepoints("web.search"),
        "access review": ReviewAccess(idle=0, life=1, times=1),
        "two delegations": DiffDelegations(first, last),
        "two instants": DiffTimes(told.now - 3600),
        **{f"as {kind}": ExportGraph(format=kind) for kind in ("dot", "graphml", "mermaid", "json", "prov")},
        "of one, what stands": ExportGraph(RESEARCHER, "json", live=True, limit=1),
    }
