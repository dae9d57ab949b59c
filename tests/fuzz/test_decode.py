"""A short run of the fuzz target; `python -m tests.fuzz.decode` is the long one."""

from __future__ import annotations

import pytest

from tests.fuzz.decode import run


@pytest.mark.parametrize("seed", range(3))
def test_nothing_but_the_one_error_comes_out(seed: int) -> None:
    verdicts = run(seed, seconds=60, most=1_000)
    assert verdicts.total() == 1_000
    expected = {
        "accepted",
        "token_malformed",
        "claim_invalid",
        "constraint_invalid",
        "signature_invalid",
        "anchor_unknown",
    }
    assert expected <= verdicts.keys()


def test_a_seed_gives_the_same_cases() -> None:
    assert run(7, seconds=60, most=100) == run(7, seconds=60, most=100)
