"""Intent: the root binds an instruction, and a call declares it."""

from __future__ import annotations

import pytest

from chain import intent, mint
from chain.order import Issue
from chain.reason import Reason
from tests.support import ALICE, World

INSTRUCTION = "Book me a trip to Lisbon, and pay at most 100 EUR."


def test_a_call_declares_the_instruction_that_started_its_task() -> None:
    world = World()
    bound = intent.bind(INSTRUCTION, b"0123456789abcdef")
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=600, intent=bound)
    token = world.authority.issue(world.caller, order).token
    world.allowed([token], ALICE, "mail.read", {}, intent=bound.digest)
    other = intent.bind(INSTRUCTION + " Pay whatever it costs.", b"0123456789abcdef")
    world.denied(Reason.INTENT_MISMATCH, 0, [token], ALICE, "mail.read", {}, intent=other.digest)
    world.denied(Reason.INTENT_MISSING, 0, [token], ALICE, "mail.read", {})
    assert INSTRUCTION not in str([record for record, _ in world.store.records()])


def test_the_salt_keeps_a_short_instruction_from_being_guessed() -> None:
    one, two = (intent.bind("pay", salt) for salt in (b"a" * 16, b"b" * 16))
    assert one.digest != two.digest
    assert intent.matches(one, "pay")
    assert not intent.matches(one, "Pay")
    assert not intent.matches(two, "\ud800")
    with pytest.raises(ValueError, match="empty"):
        intent.bind("", b"a" * 16)
