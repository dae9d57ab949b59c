"""Patterns of SPIFFE ids."""

from __future__ import annotations

import pytest

from chain.principal import covers, require_pattern

COVERED = [
    ("spiffe://a.test/x", "spiffe://a.test/x", True),
    ("spiffe://a.test/x", "spiffe://a.test/x/y", False),
    ("spiffe://a.test/x/*", "spiffe://a.test/x/y", True),
    ("spiffe://a.test/x/*", "spiffe://a.test/x/y/z", False),
    ("spiffe://a.test/x/*", "spiffe://a.test/x", False),
    ("spiffe://a.test/x/*", "spiffe://a.test/x/", False),
    ("spiffe://a.test/x/*", "spiffe://a.test/xy", False),
    ("spiffe://a.test/x/**", "spiffe://a.test/x/y/z", True),
    ("spiffe://a.test/x/**", "spiffe://a.test/x/../z", False),
    ("spiffe://a.test/x/**", "spiffe://a.test/xx/y", False),
    ("spiffe://a.test/**", "spiffe://a.test/x", True),
    ("spiffe://a.test/**", "spiffe://b.test/x", False),
    ("spiffe://a.test/**", "spiffe://a.test.evil/x", False),
    ("spiffe://a.test/**", "SPIFFE://a.test/x", False),
]


@pytest.mark.parametrize(("pattern", "name", "covered"), COVERED)
def test_what_a_pattern_covers(pattern: str, name: str, covered: bool) -> None:
    assert covers(pattern, name) is covered


@pytest.mark.parametrize("pattern", [row[0] for row in COVERED])
def test_what_is_a_pattern(pattern: str) -> None:
    require_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["*", "spiffe://*/x", "spiffe://a.test/*/x", "spiffe://a.test/x*", "https://a/**", ""]
)
def test_what_is_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="SPIFFE"):
        require_pattern(pattern)
