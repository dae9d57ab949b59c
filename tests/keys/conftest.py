"""A token of SoftHSM2, where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.keys.softhsm import SoftToken

PIN = "sentinel-pin-4d1f8a"


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftToken]:
    pytest.importorskip("pkcs11", reason="the extra `pkcs11` is not installed")
    from tests.keys import softhsm  # noqa: PLC0415 - needs the extra

    library = softhsm.module()
    if library is None:
        pytest.skip("SoftHSM2 is not installed (softhsm2-util)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", "")  # whatever it becomes, it is put back
        yield softhsm.make(tmp_path_factory.mktemp("softhsm"), library)
