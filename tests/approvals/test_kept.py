"""`chain approvals` on a ledger at hand: its owner reaches everything in it, and still signs with a person's key."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from chain import mint
from chain.caller import embedded
from chain.cli import main
from chain.cli.composition import authority
from chain.identity import keyfile
from chain.order import Issue
from chain.service.settings import load
from tests.approvals.office import ANN, BEN, human
from tests.approvals.served import key_file, paying
from tests.support import ALICE, HOME, ISSUER, PEP, TOOLS, jwk

AGENTS = [
    {"jwk": jwk(ALICE), "id": "spiffe://example.org/agent", "owner": "team"},
    *(
        {"jwk": jwk(key), "id": human(name).id, "kind": "human", "owner": name}
        for name, key in (("ann", ANN), ("ben", BEN))
    ),
]


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + "}"
    return json.dumps(value) if not isinstance(value, list) else "[" + ", ".join(map(toml, value)) + "]"


def test_people_speak_through_a_ledger_at_hand(tmp_path: Path) -> None:
    private = keyfile.generate()
    keyfile.save(tmp_path / "issuer.key", private)
    told = {
        "ledger": str(tmp_path / "ledger"),
        "listen": "127.0.0.1:0",
        "audience": HOME,
        "issuer": ISSUER,
        "issuer_key": str(tmp_path / "issuer.key"),
        "anchors": [{"jwk": json.loads(private.signer().key.to_json()), "iss": ISSUER}],
        "callers": [{"name": "o", "roles": ["operator"], "credentials": ["0" * 64]}],
        "agents": AGENTS,
        "roots_must_name": [],
    }
    configuration = tmp_path / "chain.toml"
    configuration.write_text("\n".join(f"{name} = {toml(value)}" for name, value in told.items()))

    def decided() -> object:
        opened = authority(load(["--config", str(configuration)]))
        tokens.extend([] if tokens else [opened.issue(embedded(), order).token])
        decision = opened.check(embedded(PEP), tokens, paying(tokens))
        opened.close()
        return decision.awaits or decision.effect.value

    def run(*line: str) -> tuple[int, object]:
        result = CliRunner().invoke(main, ["approvals", *line, "--ledger", str(tmp_path), "--json"])
        return result.exit_code, json.loads(result.stdout)

    tokens: list[str] = []
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": TOOLS}), lifetime=600)
    decided()
    code, listed = run("list", "--state", "pending")
    found = listed["approvals"]
    assert (code, len(found)) == (0, 1)  # type: ignore[arg-type]
    request = found[0]["id"]  # type: ignore[index]
    assert run("show", request)[1]["action"]["arguments"] == {"amount": 5}  # type: ignore[index]
    for name, state in (("ann", "pending"), ("ben", "approved")):
        key = key_file(tmp_path, name)
        assert run("approve", request, "--key", str(key), "--yes")[1]["state"] == state  # type: ignore[index]
    assert run("review") == (0, {"approvals": []})
    assert decided() == "ALLOW"
    assert decided() != "ALLOW"
