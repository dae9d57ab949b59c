"""A ledger by hand: what each record says, without an authority that would have to write it."""

from __future__ import annotations

from typing import Any

from chain.given import Entry


class Book:
    """A ledger by hand."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def write(self, kind: str, at: float = 0.0, /, **body: Any) -> None:
        self.entries.append(Entry(len(self.entries) + 1, kind, int((1000 + at) * 1000), body))

    def give(self, name: str, parent: str | None, holder: str, *, exp: int = 9_000, **more: Any) -> None:
        above = next((one.body for one in self.entries if parent and one.body.get("id") == parent), None)
        body: dict[str, Any] = {
            "id": name,
            "parent": parent,
            "holder": holder,
            "exp": exp,
            "iat": 1000,
            "hop": 0 if above is None else above["hop"] + 1,
            "issuer": "https://issuer.example",
            "signer": "anchor" if above is None else above["holder"],
            "facts": {"txn": "t1", "sub": "alice"},
            "grant": {"tools": {"bank.pay": {}, "mail.read": {}}},
            "caller": "agents",
        }
        self.write("delegated" if parent else "issued", **(body | more))

    def enrol(self, holder: str, principal: str, under: str = "") -> None:
        who = {"id": principal, "kind": "agent", "owner": "team"} | ({"under": under} if under else {})
        self.write("enrolled", holder=holder, principal=who, caller="ops")
