"""What live delegations cost: time until a restarted authority is ready, memory, and the price of a check.

`python -m benchmarks.scale --json` fills SQLite ledgers with live delegations (real tokens, one holder each, under
one root), opens each with a new `Authority` and asks: how long until it is ready, how long until the first check
of a chain named by digest alone is answered (stored tokens are verified like any others), what a check of a known
chain costs beside that many, and how much memory one more registered delegation takes.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

from chain import mint, token
from chain.anchor import TrustAnchor
from chain.authority import Authority
from chain.caller import embedded
from chain.catalog import Catalogue
from chain.delegation import Delegation
from chain.grant import Grant
from chain.key import KeySigner
from chain.ledger import Durability, Record, encode
from chain.request import Request
from chain.row import DelegationRow, Write
from chain.store.sqlite import SqliteStore
from chain.token import Verifier

ISSUER = "https://issuer.example"
AUDIENCE = "https://pep.example"
SIZES = (1_000, 100_000, 1_000_000)
GROUP = 5_000  # rows a commit while filling
LIFETIME = 24 * 3600
SAMPLES = 300


def grant(top: int) -> Grant:
    """A read tool under one constraint."""
    return mint.grant({"tools": {"mail.read": {"count": {"constraint_type": "range", "max": top}}}})


class Fill:
    """A batch of rows that were minted before."""

    durability = Durability.SYNCED

    def __init__(self, rows: list[DelegationRow]) -> None:
        self.rows = rows

    def prepare(self, first: int) -> Write:
        """Give each row the revision of the one record that brings them all."""
        record = encode(Record(first, "admitted", int(time.time() * 1000), {"count": len(self.rows)}))
        return Write([record], [_with_revision(row, first) for row in self.rows])


def _with_revision(row: DelegationRow, revision: int) -> DelegationRow:
    fields = {name: getattr(row, name) for name in DelegationRow.__struct_fields__}
    return DelegationRow(**(fields | {"revision": revision}))


def row(text: str, parent: bytes | None) -> DelegationRow:
    """A token as the store keeps it."""
    one = mint.unverified(text)
    return DelegationRow(
        digest=one.digest,
        parent=parent,
        token=text.encode(),
        issuer=one.claims.iss,
        jti=one.claims.jti,
        holder=one.holder,
        task="",
        depth=one.hop,
        iat=one.iat,
        exp=one.exp,
        revision=0,
    )


def children(root: Delegation, signer: KeySigner, holder: KeySigner, count: int) -> Iterator[str]:
    """That many tokens under one root; they share a holder, because a million keys would only be slow to make."""
    now = int(time.time())
    for number in range(count):
        jti = mint.uuid7(time.time(), os.urandom(10))
        claims = mint.child_claims(root, grant(number % 900 + 1), holder.key, jti=jti, now=now, lifetime=LIFETIME)
        yield token.sign(claims, signer)


def fill(folder: Path, size: int, issuer: KeySigner, holder: KeySigner) -> list[bytes]:
    """Write a ledger of `size` live delegations; return some leaves' digests."""
    store = SqliteStore(folder)
    claims = mint.root_claims(
        grant(1_000),
        holder.key,
        issuer=ISSUER,
        jti=mint.uuid7(time.time(), os.urandom(10)),
        now=int(time.time()),
        lifetime=LIFETIME,
    )
    text = token.sign(claims, issuer)
    root = mint.unverified(text)
    store.commit(Fill([row(text, None)])).result()
    pending: list[DelegationRow] = []
    digests: list[bytes] = []
    last: Future[int] | None = None
    for child in children(root, holder, holder, size - 1):
        pending.append(row(child, root.digest))
        if len(digests) < SAMPLES:
            digests.append(pending[-1].digest)
        if len(pending) == GROUP:
            last = store.commit(Fill(pending))
            last.result()
            pending = []
    store.commit(Fill(pending)).result()
    store.close()
    return digests


def opened(folder: Path, issuer: KeySigner) -> Authority:
    """A new authority over a ledger that another one left."""
    return Authority(
        SqliteStore(folder),
        Verifier([TrustAnchor(issuer.key, ISSUER)]),
        clock=time.time,
        entropy=os.urandom,
        audience="https://chain.example",
        catalogue=Catalogue.model_validate({"mail.read": "read"}),
    )


def asked(authority: Authority, digest: bytes, request: Request) -> float:
    """Microseconds of one check that must be allowed."""
    start = time.perf_counter()
    decision = authority.check(embedded(AUDIENCE), digest, request)
    taken = time.perf_counter() - start
    assert decision.allowed, str(decision)
    return taken * 1e6


def measure(size: int, issuer: KeySigner, holder: KeySigner) -> dict[str, float | int]:
    """One row of the table."""
    request = Request(tool="mail.read", arguments={"count": 1}, audience=AUDIENCE, holder=holder.key.thumbprint)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "ledger"
        digests = fill(folder, size, issuer, holder)
        gc.collect()
        begin = time.perf_counter()
        authority = opened(folder, issuer)
        ready = time.perf_counter() - begin
        first = [asked(authority, digest, request) for digest in digests]
        again = [asked(authority, digest, request) for digest in digests]
        authority.close()
        tracemalloc.start()
        authority = opened(folder, issuer)
        idle = tracemalloc.get_traced_memory()[0]
        for digest in digests:
            asked(authority, digest, request)
        remembered = tracemalloc.get_traced_memory()[0] - idle
        tracemalloc.stop()
        authority.close()
    return {
        "live": size,
        "ready_ms": round(ready * 1e3, 1),
        "first_by_digest_us": round(statistics.median(first), 1),
        "known_us": round(statistics.median(again), 1),
        "authority_bytes_per_live": round(idle / size, 2),
        "bytes_per_remembered": round(remembered / len(digests)),
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="rows as one JSON array")
    parser.add_argument("--live", type=int, action="append", help="live delegations; may repeat (1e3 1e5 1e6)")
    options = parser.parse_args()
    issuer, holder = (KeySigner.from_seed(os.urandom(32)) for _ in range(2))
    rows = [measure(size, issuer, holder) for size in options.live or SIZES]
    if options.json:
        print(json.dumps(rows))
    else:
        for line in rows:
            print("  ".join(f"{name} {value}" for name, value in line.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
