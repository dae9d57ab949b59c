"""What stands at an instant, as a forest: the ground that every question of the graph stands on.

The law of this file: a delegation is in the forest exactly if it stands, and then everything above it is. Names are
whoever's they are in the record: a key, a principal, a pattern of principals, a delegation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cached_property

from chain.auditor import Row, is_agent, named
from chain.budget import Spent
from chain.errors import NotFoundError
from chain.given import Given
from chain.history import History
from chain.principal import SCHEME, covers


class Forest:
    """The delegations that stand.

    Attributes:
        history: the ledger.
        now: seconds; the instant.
        live: id -> delegation, parents before children.
    """

    def __init__(self, history: History, now: float) -> None:
        """Look at a ledger as of an instant."""
        self.history = history
        self.now = now
        self.live: dict[str, Given] = history.live(now)
        self._called: dict[str, str] = {}

    @cached_property
    def held(self) -> dict[str, list[Given]]:
        """Name of a holder -> what it holds."""
        return _by((name, one) for one in self.live.values() for name in one.names)

    @cached_property
    def signed(self) -> dict[str, list[Given]]:
        """Thumbprint of a key -> what it signed, by itself or through a key that it certified."""
        return _by((key, one) for one in self.live.values() for key in one.signers if key)

    @cached_property
    def tasks(self) -> dict[str, list[Given]]:
        """Task -> what belongs to it."""
        return _by((one.task, one) for one in self.live.values() if one.task)

    @cached_property
    def agents(self) -> dict[str, list[Given]]:
        """Name of an agent for people -> what it holds."""
        return _by((self.called(one), one) for one in self.live.values())

    @cached_property
    def spent(self) -> dict[str, Spent]:
        """Id of a delegation -> what was used up of its budget."""
        found: dict[str, Spent] = {}
        for entry in self.history.decided:
            for name, amount, _currency in entry.body.get("spent", ()):
                before = found.get(name, Spent())
                found[name] = Spent(before.calls + 1, before.amount + Decimal(amount))
        return found

    def called(self, one: Given) -> str:
        """Return the name for people of a delegation's holder."""
        known = self._called.get(one.holder)
        if known is None:
            known = self._called[one.holder] = self.history.called(one.holder)
        return known

    def of(self, agent: str) -> list[Given]:
        """Return what an agent holds.

        Args:
            agent: a principal's id, at its end `/*` or `/**`, or a key's thumbprint.
        """
        found = {
            one.id: one for name, ones in self.held.items() if self._is(name, agent) for one in ones
        }  # by its key and by the id that it is bound to, it is one delegation
        return list(found.values())

    def below(self, starts: Iterable[Given]) -> Iterator[Given]:
        """Yield these and everything beneath them that stands, each once, parents before children."""
        seen: set[str] = set()
        queue = list(starts)
        for one in queue:
            if one.id in self.live and one.id not in seen:
                seen.add(one.id)
                yield one
                queue.extend(one.below)

    def starts(self, name: str) -> list[Given]:
        """Return what is meant by a name, whether or not it stands.

        Args:
            name: of a delegation or its beginning, of a decision, of an agent, or of a key: what it holds and signed.

        Raises:
            NotFoundError: nothing is called so.
            InvalidRequestError: several delegations begin like this.
        """
        if (one := self.history.given.get(name)) is not None:
            return [one]
        given = self.history.given.values()
        called = {holder for one in given for holder in one.names}
        meant = {holder for holder in called if self._is(holder, name)}
        found = [one for one in given if name in one.signers or not meant.isdisjoint(one.names)]
        if found or self.knows(name):
            return found
        return [named(self.history, name)]

    def knows(self, agent: str) -> bool:
        """Tell whether anybody is or was called so: enrolled, or the holder of something."""
        if agent in self.held or any(self._is(name, agent) for name in self.history.enrolled):
            return True
        return any(self._is(name, agent) for one in self.history.given.values() for name in one.names)

    def require(self, agent: str) -> None:
        """Return where somebody is called so.

        Raises:
            NotFoundError: nobody is.
        """
        if not self.knows(agent):
            raise NotFoundError(f"no agent `{agent[:256]}`")

    def row(self, one: Given) -> Row:
        """Return what every row tells of a delegation."""
        return {
            "record": one.entry.revision,
            "agent": self.called(one),
            "key": one.holder,
            "hop": one.hop,
            "from": one.issuer if one.above is None else self.called(one.above),
            "task": one.task,
            "for": one.sub,
            "until": one.exp,
            "id": one.id,
        }

    def _is(self, name: str, agent: str) -> bool:
        pattern = agent.endswith("*") and name.startswith(SCHEME)
        return is_agent(self.history, name, agent) or (pattern and covers(agent, name))


def _by(pairs: Iterable[tuple[str, Given]]) -> dict[str, list[Given]]:
    found: dict[str, list[Given]] = {}
    for name, one in pairs:
        if name in found:
            found[name].append(one)
        else:
            found[name] = [one]
    return found
