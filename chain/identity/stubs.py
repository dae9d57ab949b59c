"""The generated half of the SPIFFE Workload API, as the extra `spiffe` ships it, and what every call carries.

The law of this file: it is loaded when it is needed and named when it is missing.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final

from chain.errors import ConfigurationError

HEADER: Final = ("workload.spiffe.io", "true")
"""Metadata without which no request is answered (Workload API s3)."""


def stubs() -> tuple[ModuleType, ModuleType]:
    """Return the messages and the service.

    Raises:
        ConfigurationError: the extra is not installed.
    """
    try:
        return import_module("spiffe._proto.workload_pb2"), import_module("spiffe._proto.workload_pb2_grpc")
    except ImportError:
        raise ConfigurationError(
            "the SPIFFE Workload API needs the extra `spiffe`: pip install 'chain-authz[spiffe]'"
        ) from None
