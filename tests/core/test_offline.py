"""Whoever decides without an authority has heard of nobody, and of nothing that was used, spent or approved."""

from __future__ import annotations

from chain.budget import Spent
from chain.case import Case
from chain.catalog import Catalogue
from chain.control import ORDINARY, Party
from chain.judge import _Offline
from chain.request import Request
from chain.state import Settings
from tests.support import CATALOGUE, World, honest


def test_offline_nobody_is_known_and_nothing_happened() -> None:
    world = World()
    state = _Offline(Settings(), Catalogue.model_validate(CATALOGUE), frozenset())
    chain = world.verifier.verify(honest())
    action = Case(chain, Request(tool="mail.read"), state, 1.0).action
    assert state.principal(chain.leaf.holder) is None
    assert state.party(chain.leaf.holder) == Party(chain.leaf.holder, None, ORDINARY)
    assert (state.stopped(chain.leaf.holder, 1.0), state.rested(chain, 1.0)) == ((), 0.0)
    assert (state.seen(chain.leaf.digest, "jti:a"), state.spent(chain.leaf.digest)) == (False, Spent())
    assert (state.asked_under("root"), state.approval("binding"), state.approved(chain.leaf.digest)) == (
        False,
        None,
        False,
    )
    assert state.crowded(chain.leaf.holder, action, 1.0) is None
