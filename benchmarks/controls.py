"""What each control costs: the same warm check with each one switched on, beside the one without, in one run.

`python -m benchmarks.controls --json` prints rows `{"level","control","beside","p50_us","beside_us","more_us","ratio"}`
as one JSON array; without `--json` a table. One chain of eight hops, known; the channel proves its holder; the tool
reads.

decision: the bare function `check` over live facts · authority: `Authority.check` on a SQLite ledger, the tokens and
the record in the time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.scenario import Unfit
from chain import mint, token
from chain.anchor import TrustAnchor
from chain.authority import Authority
from chain.bundles import default
from chain.caller import embedded
from chain.catalog import Catalogue
from chain.check import check
from chain.control import Named
from chain.decision import Decision, Effect
from chain.key import KeySigner
from chain.order import Revoke
from chain.pace import Breaker
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.state import SHADOWABLE, Settings
from chain.store.sqlite import SqliteStore
from chain.token import Verifier

DEPTH = 8
CALLS = {"decision": 4_000, "authority": 400}
"""Samples of each control; a turn of the bare function is over in a fifth of a millisecond."""

WARMUP = 40

ISSUER, HOME, AUDIENCE = "https://issuer.example", "https://chain.example", "https://tools.example"
READ, FROZEN, ACT = "accounts.statement", "accounts.export", "accounts.close"
CATALOGUE = Catalogue.model_validate(
    {
        READ: {"class": "read", "sensitivity": "moderate", "classification": "internal"},
        FROZEN: {"class": "read", "sensitivity": "moderate", "classification": "internal"},
        ACT: {"class": "act", "sensitivity": "critical", "classification": "internal"},
    }
)
GIVEN = {"account": "DE01", "currency": "EUR", "days": 30}
TOOLS: dict[str, Any] = {
    READ: {
        "account": {"constraint_type": "one_of", "values": ["DE00", "DE01", "DE02"]},
        "currency": {"constraint_type": "exact", "value": "EUR"},
        "days": {"constraint_type": "range", "min": 0, "max": 365},
    },
    FROZEN: {},
    ACT: {},
}
MANY = 100_000
"""More calls than a run makes, so that a limit is counted and never reached."""

BUDGET = {"calls": MANY, "amount": {"value": "100000.00", "currency": "EUR", "argument": "amount"}}
GATE = embedded(AUDIENCE)


def _signer(name: str) -> KeySigner:
    return KeySigner.from_seed(sha256(f"controls {name}".encode()).digest())


KEYS = [_signer(str(hop)) for hop in range(DEPTH)]
ISSUING, STRANGER = _signer("issuer"), _signer("stranger")


class Bench:
    """One authority on a ledger of its own, and the chain that it is asked about."""

    def __init__(self, control: Control, folder: Path) -> None:
        """Open it, and switch the control on."""
        self.authority = Authority(
            SqliteStore(folder / control.name),
            Verifier([TrustAnchor(ISSUING.key, ISSUER)]),
            clock=time.time,
            entropy=os.urandom,
            audience=HOME,
            signer=ISSUING,
            issuer=ISSUER,
            catalogue=CATALOGUE,
            settings=control.settings,
            breaker=control.breaker,
        )
        for place, key in enumerate((*KEYS, STRANGER)):
            principal = Principal(id=f"spiffe://bank.example/agent/{place}", owner="team")
            self.authority.enrol(GATE, key.key, principal)
        self.tokens = chain(KEYS, BUDGET if control.budget else None)
        self.ask(READ, GIVEN)  # known from here on
        control.on(self)

    def ask(
        self, tool: str, arguments: dict[str, Any], tokens: Sequence[str] = (), by: KeySigner = KEYS[-1]
    ) -> Decision:
        """Ask as the channel of a holder does."""
        request = Request(
            tool=tool,
            arguments=arguments,
            audience=AUDIENCE,
            holder=by.key.thumbprint,
            request_id=None if CATALOGUE.tool(tool).action_class == "read" else os.urandom(12).hex(),
        )
        return self.authority.check(GATE, tokens or self.tokens, request)

    def call(self, level: str) -> measure.Call:
        """Return what is timed."""
        request = Request(tool=READ, arguments=GIVEN, audience=AUDIENCE, holder=KEYS[-1].key.thumbprint)
        if level == "authority":

            def asked(_index: int) -> None:
                self.authority.check(GATE, self.tokens, request)

            return asked
        known = self.authority.verifier.verify(self.tokens)
        live, now = self.authority._desk.live, time.time()  # noqa: SLF001 - the facts that its own decisions read

        def decided(_index: int) -> None:
            check(known, request, live, now)

        return decided


def chain(keys: Sequence[KeySigner], budget: dict[str, Any] | None = None) -> list[str]:
    """Return the tokens of a chain; every hop restates what its parent grants."""
    grant = mint.grant(
        {"tools": TOOLS, "limits": {"classes": ["read", "act"]} | ({"budget": budget} if budget else {})}
    )
    now = int(time.time())
    claims = mint.root_claims(
        grant, keys[0].key, issuer=ISSUER, jti=os.urandom(9).hex(), now=now, lifetime=3600, max_depth=DEPTH, home=HOME
    )
    tokens = [token.sign(claims, ISSUING)]
    for by, to in pairwise(keys):
        above = mint.unverified(tokens[-1])
        claims = mint.child_claims(above, grant, to.key, jti=os.urandom(9).hex(), now=now, lifetime=3600)
        tokens.append(token.sign(claims, by))
    return tokens


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that can be switched on.

    Attributes:
        name: in the table.
        on: switches it on.
        bites: tells that it is on: it refuses what it is there to refuse.
        beside: the row that it is set against.
        settings, breaker, budget: what it needs from the start.
    """

    name: str
    on: Callable[[Bench], object] = lambda _: None
    bites: Callable[[Bench], bool] = lambda bench: not bench.ask(READ, GIVEN | {"days": 366}).allowed
    beside: str = "none"
    settings: Settings | None = None
    breaker: Breaker | None = None
    budget: bool = False


def _policy(bench: Bench) -> None:
    bench.authority.policies.activate(GATE, default())


def _suspension(bench: Bench) -> None:
    bench.authority.steering.suspend(GATE, "tool", FROZEN, "a benchmark")


def _strike(bench: Bench) -> None:
    bench.authority.revoke(GATE, Revoke(cause="a benchmark", named=Named("holder", STRANGER.key.thumbprint)))


def _request(bench: Bench) -> None:
    _policy(bench)
    bench.ask(ACT, {"account": "DE02"})  # people are asked, and have not answered


def _all(bench: Bench) -> None:
    for switch in (_suspension, _strike, _request):
        switch(bench)


def _asks_people(bench: Bench) -> bool:
    """Under a root of its own, so that nothing is open under the one that is timed."""
    return bench.ask(ACT, {}, chain([STRANGER]), STRANGER).effect is Effect.APPROVAL_REQUIRED


def _waits(bench: Bench) -> bool:
    return len(bench.authority.approvals.find(GATE)) >= 1


def _freezes(bench: Bench) -> bool:
    return bench.ask(FROZEN, {}).reason is Reason.SUSPENDED


def _struck(bench: Bench) -> bool:
    return bench.ask(READ, GIVEN, chain([STRANGER]), STRANGER).reason is Reason.REVOKED


def _runs_out(bench: Bench) -> bool:
    spent = chain([STRANGER], {"calls": 0})
    return bench.ask(READ, GIVEN, spent, STRANGER).reason is Reason.BUDGET_EXCEEDED


def _shadows(bench: Bench) -> bool:
    bench.authority.policies.activate(GATE, default() | {"no.cedar": _NO_EXPORT})
    shadowed = bench.ask(FROZEN, {})
    bench.authority.policies.activate(GATE, default())
    return shadowed.effect is Effect.DENY and not shadowed.enforced


_NO_EXPORT = f'@id("no.export")\nforbid (principal, action, resource == Chain::Tool::"{FROZEN}");'
PACE = Breaker(window=60, calls=MANY, denials=MANY, delegations=MANY)

CONTROLS = (
    Control("none"),
    Control("policy", _policy, _asks_people),
    Control("suspension", _suspension, _freezes),
    Control("strike", _strike, _struck),
    Control("budget", bites=_runs_out, budget=True),
    Control("approval", _request, _waits, beside="policy"),
    Control("rate", breaker=Breaker(calls=MANY)),
    Control("breaker", breaker=Breaker(denials=MANY, delegations=MANY)),
    Control("shadow", _policy, _shadows, beside="policy", settings=Settings(shadow=SHADOWABLE)),
    Control("all", _all, _struck, settings=Settings(shadow=SHADOWABLE), breaker=PACE, budget=True),
)
"""`budget` counts calls and money at every hop, eight budgets in all; `all` is everything at once."""


@dataclass(frozen=True, slots=True)
class Row:
    """One control at one level, in microseconds, beside the row without it.

    Attributes:
        level: `decision` or `authority`.
        control: what is on.
        beside: what it is set against.
        p50_us, beside_us: medians of both.
        more_us, ratio: what it costs.
    """

    level: str
    control: str
    beside: str
    p50_us: float
    beside_us: float
    more_us: float
    ratio: float


def run(controls: Sequence[Control] = CONTROLS, *, calls: dict[str, int] = CALLS) -> list[Row]:
    """Time every control at both levels, in turns.

    Raises:
        Unfit: a control refuses the call, or lets through what it is there to refuse.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_benches:
        benches = {control.name: Bench(control, Path(folder)) for control in controls}
        for control in controls:
            bench = benches[control.name]
            open_benches.callback(bench.authority.close)
            if not control.bites(bench):
                raise Unfit(f"{control.name} is not on")
        for level, rounds in calls.items():
            _require_allowed(benches)
            timed = {name: bench.call(level) for name, bench in benches.items()}
            medians = {
                name: timing.p50_us for name, timing in measure.take_turns(timed, rounds=rounds, warmup=WARMUP).items()
            }
            rows += [_row(level, control, medians) for control in controls]
        _require_allowed(benches)
    return rows


def _require_allowed(benches: dict[str, Bench]) -> None:
    for name, bench in benches.items():
        decision = bench.ask(READ, GIVEN)
        if not decision.allowed:
            raise Unfit(f"{name} refuses the call: {decision}")


def _row(level: str, control: Control, medians: dict[str, float]) -> Row:
    own, other = medians[control.name], medians[control.beside]
    return Row(
        level=level,
        control=control.name,
        beside=control.beside,
        p50_us=round(own, 2),
        beside_us=round(other, 2),
        more_us=round(own - other, 2),
        ratio=round(own / other, 3),
    )


def table(rows: Iterable[Row]) -> str:
    """The rows for people."""
    lines = [f"{'level':<11}{'control':<12}{'p50 us':>9}{'more us':>9}{'x':>8}  beside"]
    lines += [
        f"{row.level:<11}{row.control:<12}{row.p50_us:>9.2f}{row.more_us:>9.2f}{row.ratio:>8.2f}  {row.beside}"
        for row in rows
    ]
    lines.append(f"{DEPTH} hops, known; the channel proves the holder; the tool reads")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.controls", description=__doc__)
    parser.add_argument("--json", action="store_true", help="rows as one JSON array")
    parser.add_argument("--calls", type=int, help="samples of each control, at both levels")
    options = parser.parse_args(arguments)
    calls = CALLS if options.calls is None else dict.fromkeys(CALLS, options.calls)
    rows = run(calls=calls)
    if options.json:
        print("[\n" + ",\n".join(json.dumps(asdict(row)) for row in rows) + "\n]")
    else:
        print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
