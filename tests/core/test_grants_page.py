"""docs/grants.md: what it shows is what is taken."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from chain import mint
from chain.catalog import Catalogue
from chain.grant import Budget
from chain.judge import read

PAGE = (Path(__file__).parents[2] / "docs" / "grants.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_blocks_of_the_page_are_taken() -> None:
    assert [kind for kind, _ in BLOCKS] == ["json", "toml", "json"]
    granted = mint.grant(BLOCKS[0][1])
    assert isinstance(granted.limits.budget, Budget)
    assert granted.covers(granted)
    known = Catalogue.model_validate(tomllib.loads(BLOCKS[1][1]))
    assert known.tool("mail.read").sensitivity == "critical"
    amount = known.tool("bank.transfer").amount
    assert amount is not None
    assert amount.currency == "EUR"
    question = json.loads(BLOCKS[2][1]) | {"tokens": []}
    assert read(json.dumps(question)).status_lists == ["eyJ…"]
