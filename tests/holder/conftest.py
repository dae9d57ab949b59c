"""An authority of one's own for each test."""

from __future__ import annotations

import pytest

from tests.support import World


@pytest.fixture
def world() -> World:
    return World()
