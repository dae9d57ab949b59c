"""The enforcement point's side: clients of the service, `Session`, and `@guard`.

`Client` and `AsyncClient` load gRPC; they are imported when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.client.door import AsyncDoor, AsyncLocal, Door, Local
from chain.client.environment import ainherited, inherited
from chain.client.guard import guard
from chain.client.holding import Handover
from chain.client.session import AsyncSession, Session, active
from chain.client.step import astep, step

if TYPE_CHECKING:
    from chain.client.aio import AsyncClient
    from chain.client.sync import Client

__all__ = [
    "AsyncClient",
    "AsyncDoor",
    "AsyncLocal",
    "AsyncSession",
    "Client",
    "Door",
    "Handover",
    "Local",
    "Session",
    "active",
    "ainherited",
    "astep",
    "guard",
    "inherited",
    "step",
]


def __getattr__(name: str) -> object:
    if name == "Client":
        from chain.client.sync import Client  # noqa: PLC0415 - gRPC is loaded only where it is used

        return Client
    if name == "AsyncClient":
        from chain.client.aio import AsyncClient  # noqa: PLC0415 - as above

        return AsyncClient
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
