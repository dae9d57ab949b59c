"""People who approve."""

import pytest

from tests.approvals.office import Office


@pytest.fixture
def office() -> Office:
    return Office()
