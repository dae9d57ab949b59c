"""Which hosts are this machine, and which only look like it."""

from __future__ import annotations

import pytest

from chain.loopback import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "0.0.0.1", "::", "10.0.0.1", "127.1", "127.0.0.1.example", "localhost.example", "xlocalhost", "localhost.",
     "[::1]", "2130706433", "0x7f000001", "127.0.0.1 ", "fe80::1"],
)  # fmt: skip
def test_somebody_else(host: str) -> None:
    assert not is_loopback(host)
