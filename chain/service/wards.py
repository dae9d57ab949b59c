"""What contradicts itself where a server keeps keys for agents: part of the rules of `chain.service.safety`.

The law of this file: a key is kept for an agent that somebody answers for, and only where a channel proves the agent;
who has a key of its own has none kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chain.caller import Role
from chain.custody import KEEPER
from chain.service.settings import ServeSettings
from chain.service.tables import CallerSettings


def faults(settings: ServeSettings) -> Iterator[str]:
    """Yield every contradiction, each as a sentence."""
    owned = Counter(agent.id for agent in settings.agents if agent.custody)
    wards = {caller.ward for caller in settings.callers}
    for name, times in owned.items():
        if times > 1:
            yield f"`{name}` stands {times} times among the agents whose keys are kept"
        if name not in wards:
            yield f"a key is kept for `{name}`, and no caller with `custody` is that agent"
    if owned and settings.custody is None:
        yield "keys are to be kept for agents, and `custody` names no directory"
    if settings.custody is not None and not owned:
        yield "`custody` names a directory, and no agent's key is to be kept"
    if any(caller.name == KEEPER.name for caller in settings.callers):
        yield f"`{KEEPER.name}` is the server's own name for who enrols the keys that it keeps, and a caller has it"
    for caller in settings.callers:
        yield from _caller(caller, settings)
        if caller.custody and caller.ward is not None and caller.ward not in owned:
            yield f"caller `{caller.name}`: no agent `{caller.ward}` with `custody` says who answers for it"


def _caller(caller: CallerSettings, settings: ServeSettings) -> Iterator[str]:
    name = caller.name
    if not caller.custody:
        if caller.agent is not None:
            yield f"caller `{name}` names an `agent` and has no `custody`"
        return
    if Role.AGENT not in caller.roles:
        yield f"caller `{name}` has `custody` and is no agent"
    if caller.jwk is not None or caller.jwk_file is not None or caller.thumbprint is not None:
        yield f"caller `{name}` has `custody` and a key of its own"
    if not caller.socket and (caller.spiffe is None or not settings.mtls_listen):
        yield f"caller `{name}` has `custody`, and neither a socket nor `mtls_listen` with a `spiffe` id would prove it"
    if caller.agent is not None and caller.spiffe is not None:
        yield f"caller `{name}` is `agent` and `spiffe`: give one of them"
    if caller.socket and (caller.ward is None or caller.ward.endswith("*")):
        yield f"caller `{name}` has `custody` on a socket, which is one `agent`'s, and names none"
