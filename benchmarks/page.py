"""The page of `chain report` in a real browser, at 200, 2,000 and 20,000 delegations.

    python -m benchmarks.page

Prints, for each size: how long it took to make, its size, when its graph was drawn, and how long a click, a
search and a step of the slider took until the next frame was drawn.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.browser import Page, browser
from chain import ledger
from chain.base64url import b64encode
from chain.given import Entry
from chain.history import History
from chain.report import Origin, data, page, shown

SIZES = (200, 2_000, 20_000)

START = 1_790_000_000
TEAMS = ("travel", "finance", "research", "support")
TOOLS = ("mail.read", "web.search", "bank.pay", "hotel.book", "crm.update", "files.write")


def entries(size: int, seed: int = 7) -> Iterator[Entry]:
    """A ledger with so many delegations: trees of up to five hops, calls, refusals, revocations and suspensions."""
    rng, revision, clock = random.Random(seed), 0, START * 1000

    def write(kind: str, **body: object) -> Entry:
        nonlocal revision, clock
        revision, clock = revision + 1, clock + rng.randrange(1, 400)
        return Entry(revision, kind, clock, body)

    def name() -> str:
        return b64encode(rng.randbytes(32))

    agents = [name() for _ in range(max(8, size // 40))]
    for place, holder in enumerate(agents):
        team = TEAMS[place % len(TEAMS)]
        who = {"id": f"spiffe://example.org/{team}/agent-{place}", "kind": "agent", "owner": f"{team}-team"}
        yield write("enrolled", holder=holder, principal=who, caller="operator")
    made: list[dict[str, object]] = []
    for number in range(size):
        above = made[-rng.randrange(1, min(len(made), 60) + 1)] if made and rng.random() > 0.06 else None
        if above is not None and above["hop"] == 4:
            above = None
        tools = {name: {} for name in rng.sample(TOOLS, 3)} if above is None else _fewer(above, rng)
        hop = 0 if above is None else int(str(above["hop"])) + 1
        one: dict[str, object] = {
            "id": name(), "parent": None if above is None else above["id"], "jti": name()[:20],
            "issuer": "https://issuer.example", "signer": name(), "holder": rng.choice(agents), "hop": hop,
            "iat": clock // 1000, "exp": clock // 1000 + rng.choice((600, 3_600, 86_400)), "grant": {"tools": tools},
            "facts": {"txn": f"task-{number // 50}", "sub": "alice"} if above is None else above["facts"],
            "caller": "agents",
        }  # fmt: skip
        if above is not None:
            one["exp"] = min(int(str(one["exp"])), int(str(above["exp"])))
        made.append(one)
        yield write("delegated" if hop else "issued", **one)
        for _ in range(rng.choice((0, 1, 1, 2))):
            yield write("decided", **_call(one, rng, name()[:14]))
        if rng.random() < 0.02:
            yield write("revoked", id=one["id"], cause="the task is over", caller="operator")
    stopped = {"name": "spiffe://example.org/support/agent-3", "cause": "looked at", "author": "operator"}
    yield write("suspended", scope="agent", mode="suspended", until=0, **stopped)


def _fewer(above: dict[str, object], rng: random.Random) -> dict[str, object]:
    tools = list(above["grant"]["tools"])  # type: ignore[index]
    return {name: {} for name in rng.sample(tools, rng.randrange(1, len(tools) + 1))}


def _call(one: dict[str, object], rng: random.Random, name: str) -> dict[str, object]:
    good = rng.random() > 0.12
    return {
        "id": name, "effect": "ALLOW" if good else "DENY", "reason": "allowed" if good else "constraint_violated",
        "hop": None if good else one["hop"], "caller": "gate", "tool": rng.choice(TOOLS), "class": "read",
        "target": "web", "arguments": "", "leaf": one["id"], "holder": one["holder"], "rules": ["call.read"],
    }  # fmt: skip


def made(size: int) -> str:
    """The page of such a ledger."""
    every = list(entries(size))
    history, now = History(every), every[-1].seconds + 1
    told = data(history, now, Origin("ledger of a benchmark", ("--ledger", "DIR"), live=True, made=now))
    lines = [ledger.encode(ledger.Record(*entry[:3], dict(entry.body))) for entry in shown(told, every)]
    return page(told, lines)


_FRAME = "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))"


def _timed(seen: Page, what: str) -> float:
    """Milliseconds from a change until the frame after it was drawn."""
    spent: float = seen.js(
        f"(async () => {{ const at = performance.now(); {what}; await {_FRAME}; return performance.now() - at; }})()"
    )
    return spent


def main() -> None:
    """Print the table."""
    print("delegations   made   file  graph drawn  select  search  slider step")
    with browser() as real, tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            began = time.perf_counter()
            text = made(size)
            spent = time.perf_counter() - began
            file = Path(folder) / f"{size}.html"
            file.write_text(text)
            paints = []
            for _ in range(5):
                seen = Page(real)
                seen.open(file)
                paints.append(seen.until("performance.getEntriesByName('drawn')[0]?.startTime"))
                seen.close()
            seen = Page(real)
            seen.open(file)
            seen.until("Boolean(document.querySelector('#graph, #overview'))")
            seen.js(_FRAME)
            point = "document.getElementById('moment')"
            steps = [
                _timed(seen, f"{point}.value -= {place}; {point}.dispatchEvent(new Event('input', {{bubbles: true}}))")
                for place in range(1, 6)
            ]
            press = "const c = document.querySelector('#overview, [data-node]'); const b = c.getBoundingClientRect()"
            click = "new MouseEvent('click', {bubbles: true, clientX: b.x + 20, clientY: b.y + 46})"
            selects = [_timed(seen, f"{press}; c.dispatchEvent({click})") for _ in range(5)]
            form = "document.getElementById('filters')"
            word = "document.getElementById('query').value = 'agent-7'"
            searches = [_timed(seen, f"{word}; {form}.requestSubmit()") for _ in range(5)]
            seen.close()
            print(
                f"{size:11,}  {spent:4.1f} s  {len(text) / 1e6:4.1f} MB  {median(paints):8.0f} ms  "
                f"{median(selects):3.0f} ms  {median(searches):3.0f} ms  {median(steps):6.0f} ms"
            )


if __name__ == "__main__":
    main()
