"""What operators steer through the service: `client.steering`, as `Authority.steering`.

The law of this file: a change may be sent again under the key that it has; a signal has a name of its own, and comes
once however often it is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from chain.client.call import PAUSES, Call, R, fresh_key
from chain.control import Suspension
from chain.signalling import Signalled
from chain.steering import Lifted, Stopped
from chain.v1 import control_pb2 as pb
from chain.wire import control


def suspend(scope: str, name: str, cause: str, mode: str, lifetime: int, key: str | None) -> Call[Stopped]:
    """Ask to stop something."""
    message = control.suspend_to(scope, name, cause, mode, lifetime, key or fresh_key())
    return Call("Suspend", message, control.suspended_from, PAUSES)


def resume(scope: str, name: str, cause: str, key: str | None) -> Call[Lifted]:
    """Ask to let something go on."""
    message = control.resume_to(scope, name, cause, key or fresh_key())
    return Call("Resume", message, lambda reply: control.lifted_from(reply, scope, name), PAUSES)


def suspensions() -> Call[list[Suspension]]:
    """Ask what is stopped."""
    return Call("ListSuspensions", pb.ListSuspensionsRequest(), control.suspensions_from)


def signal(text: str) -> Call[Signalled]:
    """Hand in a Security Event Token."""
    return Call("ReportSignal", pb.ReportSignalRequest(set=text.encode()), control.signalled_from, PAUSES)


class Run(Protocol):
    """What sends a call and waits for its answer."""

    def __call__(self, call: Call[R]) -> R:
        """Return what the reply says."""
        ...


class AsyncRun(Protocol):
    """The same, to be awaited."""

    def __call__(self, call: Call[R]) -> Awaitable[R]:
        """Return what the reply says."""
        ...


class Steering:
    """Suspensions and signals. Arguments, results and errors are those of `chain.steering.Steering`."""

    def __init__(self, run: Run) -> None:
        """Send by `run`, the client's."""
        self._run = run

    def suspend(
        self,
        scope: str,
        name: str,
        cause: str,
        mode: str = "suspended",
        lifetime: int = 0,
        key: str | None = None,
    ) -> Stopped:
        """Stop an agent, a trust domain, a task, a tool, or everything, from the next call on."""
        return self._run(suspend(scope, name, cause, mode, lifetime, key))

    def resume(self, scope: str, name: str, cause: str, key: str | None = None) -> Lifted:
        """Let something go on."""
        return self._run(resume(scope, name, cause, key))

    def suspensions(self) -> list[Suspension]:
        """Return what is stopped now, oldest first."""
        return self._run(suspensions())

    def signal(self, text: str) -> Signalled:
        """Hand in a Security Event Token that somebody sent."""
        return self._run(signal(text))


class AsyncSteering:
    """`Steering` with `await`."""

    def __init__(self, run: AsyncRun) -> None:
        """Send by `run`, the client's."""
        self._run = run

    async def suspend(
        self,
        scope: str,
        name: str,
        cause: str,
        mode: str = "suspended",
        lifetime: int = 0,
        key: str | None = None,
    ) -> Stopped:
        """Stop an agent, a trust domain, a task, a tool, or everything, from the next call on."""
        return await self._run(suspend(scope, name, cause, mode, lifetime, key))

    async def resume(self, scope: str, name: str, cause: str, key: str | None = None) -> Lifted:
        """Let something go on."""
        return await self._run(resume(scope, name, cause, key))

    async def suspensions(self) -> list[Suspension]:
        """Return what is stopped now, oldest first."""
        return await self._run(suspensions())

    async def signal(self, text: str) -> Signalled:
        """Hand in a Security Event Token that somebody sent."""
        return await self._run(signal(text))
