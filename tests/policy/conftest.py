"""An authority, and a service around one."""

from __future__ import annotations

import pytest

from tests.service.conftest import directory, serve  # noqa: F401 - fixtures
from tests.support import World


@pytest.fixture
def world() -> World:
    return World()
