"""What stands for a listener's material shows none of it."""

from __future__ import annotations

from chain.peer import Tls


def test_a_private_key_stands_in_no_text() -> None:
    assert repr(Tls(b"secret", b"chain", b"roots", 7)) == "Tls(version=7)"
