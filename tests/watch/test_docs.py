"""The page says what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from chain.client import following, lookout
from chain.service import watch
from chain.wire.watch import HEARTBEAT

PAGE = (Path(__file__).parents[2] / "docs" / "watch.md").read_text()


def test_the_example_runs_and_comes_out_as_told() -> None:
    (program,) = re.findall(r"```python run\n(.*?)```", PAGE, re.DOTALL)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        *("sent 0", "sent 1", "sent 2"),
        "the model sees:    the action is not authorized",
        "the operator sees: DENY: hop 0: revoked (revoked)",
    ]


def test_its_numbers_are_those_of_the_code() -> None:
    assert (HEARTBEAT, watch.WRITE_PATIENCE, following.PATIENCE) == (5, 10, 60)
    assert (following.PAUSES[-1], following.SILENCE, lookout.PULSE, lookout.MISSED) == (2, 3, 1, 2)
