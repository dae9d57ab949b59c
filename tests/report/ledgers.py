"""Ledgers by hand for the page, and the page of each as a file."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chain import ledger, merkle
from chain.checkpoint import Checkpoint
from chain.given import Entry
from chain.history import History
from chain.key import KeySigner
from chain.note import Note, NoteKey
from chain.report import Origin, data, log, page, shown

SIGNER = KeySigner.from_seed(b"p" * 32)
KEY = NoteKey("page.example", SIGNER.key)
START = 1_700_000_000
ORIGIN = Origin("ledger by hand", ("--ledger", "a b"), live=True, made=START + 10_000)


class Told:
    """A ledger by hand."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def write(self, kind: str, at: float, /, **body: Any) -> None:
        self.entries.append(Entry(len(self.entries) + 1, kind, int((START + at) * 1000), body))

    def enrol(self, holder: str, name: str) -> None:
        self.write("enrolled", 0, holder=holder, principal={"id": name, "kind": "agent", "owner": "team"}, caller="ops")

    def give(self, name: str, parent: str | None, holder: str, at: float, *, life: int = 5_000, **more: Any) -> None:
        above = next((one.body for one in self.entries if parent and one.body.get("id") == parent), None)
        body: dict[str, Any] = {
            "id": name,
            "parent": parent,
            "jti": f"jti-{name}",
            "issuer": "https://issuer.example",
            "signer": "anchor" if above is None else above["holder"],
            "holder": holder,
            "hop": 0 if above is None else above["hop"] + 1,
            "iat": int(START + at),
            "exp": int(START + at) + life,
            "grant": {"tools": {"bank.pay": {}, "mail.read": {}}},
            "facts": {"txn": "t1", "sub": "alice"},
            "caller": "agents",
        }
        self.write("delegated" if parent else "issued", at, **(body | more))

    def call(self, name: str, leaf: str, at: float, *, reason: str = "allowed", **more: Any) -> None:
        given = next((one.body for one in self.entries if one.body.get("id") == leaf), None)
        body = {
            "id": name,
            "effect": "ALLOW" if reason == "allowed" else "DENY",
            "reason": reason,
            "hop": None,
            "caller": "gate",
            "tool": "bank.pay",
            "class": "act",
            "target": "bank",
            "arguments": "digest",
        } | ({} if given is None else {"leaf": leaf, "holder": given["holder"], "txn": given["facts"].get("txn")})
        self.write("decided", at, **(body | more))

    def told(self, now: float = 1_000, **more: Any) -> dict[str, Any]:
        return data(History(self.entries, START + now), START + now, ORIGIN, **more)


def lines(entries: Sequence[Entry]) -> list[bytes]:
    return [ledger.encode(ledger.Record(*entry[:3], dict(entry.body))) for entry in entries]


def checkpoint(entries: Sequence[Entry], signer: KeySigner = SIGNER) -> tuple[Note, list[bytes]]:
    leaves = [merkle.leaf_hash(line) for line in lines(entries)]
    tree = merkle.Frontier()
    for leaf in leaves:
        tree.add(leaf)
    return Note(Checkpoint(KEY.name, tree.size, tree.root).text).sign(KEY.name, signer), leaves


def written(file: Path, entries: Sequence[Entry], told: dict[str, Any], *, proven: bool = True) -> Path:
    """The page of a ledger, with its proof."""
    held = shown(told, entries)
    note, leaves = checkpoint(entries)
    proof = log(note, KEY, leaves, {entry.revision for entry in held}) if proven else None
    file.write_text(page(told, lines(held), proof), encoding="utf-8")
    return file


def element(text: str, name: str) -> str:
    """What stands in an element of the page that no browser runs."""
    found = re.search(rf'<script type="[a-z/-]+" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return found[1]


def restless(size: int, seed: int) -> Told:
    """A ledger in which much is revoked, suspended, replaced, lifted and over."""
    rng, told = random.Random(seed), Told()
    for place in range(6):
        told.enrol(f"k{place}", f"spiffe://{'ab'[place % 2]}.test/agent-{place}")
    names: list[str] = []
    hops: dict[str, int] = {}
    for number in range(size):
        at, kind = float(number), rng.random()
        if kind < 0.6 or not names:
            above = rng.choice(names) if names and rng.random() < 0.8 else None
            if above is not None and hops[above] > 4:
                above = None
            name = f"d{number}"
            facts = {"txn": f"t{rng.randrange(4)}", "sub": "alice"}
            life = rng.choice((5, 40, 5_000))
            told.give(name, above, f"k{rng.randrange(6)}", at, life=life, facts=facts)
            names.append(name)
            hops[name] = 0 if above is None else hops[above] + 1
        elif kind < 0.64:
            told.write("revoked", at, id=rng.choice(names), cause="over", caller="ops")
        elif kind < 0.645:
            told.write("revoked", at, kind="holder", name=f"k{rng.randrange(6)}", cause="lost", caller="ops")
        elif kind < 0.65:
            told.write("signalled", at, kind="session-revoked", keys=[f"k{rng.randrange(6)}"])
        else:
            scope, name = rng.choice(
                [("agent", f"spiffe://a.test/agent-{2 * rng.randrange(3)}"), ("task", f"t{rng.randrange(4)}")]
                + [("trust_domain", "b.test")] * (rng.random() < 0.3)
            )
            if rng.random() < 0.5:
                told.write("lifted", at, scope=scope, name=name, author="ops")
            else:
                until = 0 if rng.random() < 0.5 else START + number + rng.randrange(1, 60)
                suspension = {"scope": scope, "name": name, "mode": "suspended", "cause": "looked at"}
                told.write("suspended", at, **suspension, author="ops", until=until)
    return told
