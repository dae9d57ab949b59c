"""The requests for approval that are open, and to whom each counts.

The law of this file: nobody's requests crowd out anybody else's. What costs nothing to make, a key or a hop, makes no
room of its own; and however many ask, what is open at once is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from chain.approval import Action, Approval
from chain.state import Settings

Pays: TypeAlias = Callable[[str, Action], str]
"""To whom a request counts: of the key that asks and the action that is asked about."""

_OPEN = ("pending", "approved")

_Group: TypeAlias = tuple[str, str]


class Waiting:
    """Open requests, by whom they count to and by root. Read at any moment; changed by the ledger's writer alone."""

    def __init__(self, pays: Pays) -> None:
        """Begin with none."""
        self._pays = pays
        self._open: dict[str, Approval] = {}
        self._groups: dict[_Group, dict[str, Approval]] = {}
        self._of: dict[str, tuple[_Group, _Group]] = {}

    def crowded(self, asker: str, action: Action, now: float, settings: Settings) -> str | None:
        """Return why people are not asked about one action more, or None (`chain.state.State.crowded`)."""
        full = None
        if self._full(("pays", self._pays(asker, action)), settings.max_waiting, now):
            full = f"{settings.max_waiting} requests of this holder, or of the agent that it acts under,"
        elif self._full(("root", action.root), settings.max_waiting_root, now):
            full = f"{settings.max_waiting_root} requests under this root"
        elif _full(self._open, settings.max_waiting_all, now):
            full = f"{settings.max_waiting_all} requests"
        if full is None:
            return None
        return f"{full} wait for people already, each for at most {settings.approval_lifetime} s"

    def _full(self, group: _Group, most: int, now: float) -> bool:
        return _full(self._groups.get(group, {}), most, now)

    def put(self, approval: Approval) -> None:
        """Count a request as it is now (writer only)."""
        if approval.state not in _OPEN:
            self.drop(approval.id)
            return
        name = approval.id
        if name not in self._of:
            action = approval.action
            self._of[name] = ("pays", self._pays(approval.holder, action)), ("root", action.root)
        self._open[name] = approval
        for group in self._of[name]:
            self._groups.setdefault(group, {})[name] = approval

    def drop(self, name: str) -> None:
        """Count a request no more (writer only)."""
        self._open.pop(name, None)
        for group in self._of.pop(name, ()):
            members = self._groups[group]
            del members[name]
            if not members:
                del self._groups[group]

    def sweep(self, now: float) -> None:
        """Count no more what was not used in time (writer only)."""
        for approval in [one for one in self._open.values() if one.expires <= now]:
            self.drop(approval.id)

    def recount(self) -> None:
        """Ask anew to whom each counts: somebody was enrolled (writer only)."""
        for approval in list(self._open.values()):
            self.drop(approval.id)
            self.put(approval)


def _full(members: dict[str, Approval], most: int, now: float) -> bool:
    """Tell whether as many wait; of those that are open, some wait for nobody but whoever asked."""
    return len(members) >= most and sum(one.at(now).state == "pending" for one in list(members.values())) >= most
