"""A ledger at hand instead of a service: the directory that `chain demo --keep` leaves, or any like it.

The law of this file: whoever may read the ledger and its keys is its owner, and so has every role. The lock on the
ledger keeps a running service and this apart.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Generic, Self, TypeVar

import click

from chain.approval import Approval, State
from chain.approving import Approving
from chain.caller import Caller, embedded
from chain.cli.composition import authority
from chain.cli.keptaudit import KeptAudit
from chain.cli.keptkeys import KeptKeys
from chain.cli.keptpolicies import KeptPolicies
from chain.cli.output import printable
from chain.control import Suspension
from chain.decision import Decision
from chain.desk import Presented
from chain.explain import Explanation
from chain.key import PublicKey
from chain.order import Delegate, Issue, Revoke
from chain.request import Request
from chain.search import Found, Search
from chain.service.info import describe
from chain.service.settings import load
from chain.signalling import Signalled
from chain.simulate import Simulation
from chain.steering import Lifted, Steering, Stopped
from chain.supposed import Hypothesis
from chain.view import Delegated, Revoked
from chain.watch import Stand, Told
from chain.watching import Watching
from chain.wire.info import ServerInfo

T = TypeVar("T", bound=Told | Stand)


class Kept:
    """An authority on a ledger at hand, with the calls of a client; a context manager."""

    def __init__(self, folder: Path) -> None:
        """Open the ledger that ``chain.toml`` in `folder` names.

        Raises:
            ConfigurationError: no such configuration.
            LedgerLockedError: a service is running on it.
        """
        self._settings = load(["--config", str(folder / "chain.toml")])
        self._authority = authority(self._settings)
        self._caller = embedded()
        for said in self._authority.keys.found:
            click.echo(f"chain: {printable(said)}", err=True)
        self.approvals = KeptApprovals(self._authority.approvals, self._caller)
        self.audit = KeptAudit(self._authority.audit, self._caller)
        self.keys = KeptKeys(self._authority.keys, self._caller)
        self.policies = KeptPolicies(self._authority.policies, self._caller)
        self.steering = KeptSteering(self._authority.steering, self._caller)

    def audience(self) -> str:
        """Return the authority's own name."""
        return self._authority.audience

    def info(self) -> ServerInfo:
        """Return what a server on this ledger would say of itself."""
        return describe(self._authority, self._settings, self._caller, time.time())

    def check(self, presented: Sequence[str], request: Request) -> Decision:
        """Decide one call, and record it."""
        return self._authority.check(self._caller, presented, request)

    def explain(self, presented: Sequence[str], request: Request, audience: str | None = None) -> Explanation:
        """Lay every hop open; record nothing."""
        asked = request if audience is None else request.model_copy(update={"audience": audience})
        return self._authority.explain(self._caller, presented, asked)

    def simulate(
        self,
        presented: Sequence[str],
        request: Request,
        hypothesis: Hypothesis,
        policy_files: Mapping[str, str] | None = None,
    ) -> Simulation:
        """Say what would be decided, if things stood otherwise; record nothing."""
        if policy_files:
            policy = self._authority.policies.prepare(self._caller, policy_files)
            hypothesis = replace(hypothesis, policy=policy)
        return self._authority.simulate(self._caller, presented, request, hypothesis)

    def status_list(self) -> str:
        """Return the Token Status List, signed."""
        return self._authority.status_list(self._caller)

    def issue(self, order: Issue) -> Delegated:
        """Issue a root."""
        return self._authority.issue(self._caller, order)

    def delegate(self, parent: Sequence[str], child: str | Delegate, proof: str | None = None) -> Delegated:
        """Register a child that the parent's holder signed; who owns the ledger is no agent whose key it keeps."""
        return self._authority.delegate(self._caller, parent, child, proof)

    def own_key(self) -> PublicKey:
        """Return the key that is kept for the caller."""
        return self._authority.custody.own_key(self._caller)

    def revoke(
        self, order: Revoke, standing: Sequence[str] | None = None, proof: str | None = None, *, dry_run: bool = False
    ) -> Revoked:
        """Revoke a delegation and everything beneath it, or all that bears a name."""
        return self._authority.revoke(self._caller, order, standing, proof, dry_run=dry_run)

    def revision(self) -> int:
        """Return the last revision that survives power loss."""
        return self._authority.watch.revision(self._caller)

    def watch(self, after: int, kinds: Iterable[str] = (), *, until_now: bool = False) -> KeptWatch[Told]:
        """Return what the ledger holds; nobody else can write it meanwhile, so it ends by itself."""
        return KeptWatch(records(self._authority.watch, self._caller, after, tuple(kinds)))

    def watch_chain(self, presented: Presented) -> KeptWatch[Stand]:
        """Return how a chain stands; nobody else can change it meanwhile."""
        return KeptWatch(iter([self.standing(presented)]))

    def standing(self, presented: Presented) -> Stand:
        """Tell whether a chain stands now."""
        return self._authority.watch.standing(self._caller, presented)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the ledger."""
        self._authority.close()


class KeptWatch(Generic[T]):
    """News of a ledger at hand, as a client's: an iterator and a context manager."""

    def __init__(self, news: Iterator[T]) -> None:
        """Tell these."""
        self._news = news

    def __iter__(self) -> Iterator[T]:
        return self._news

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass


def records(watching: Watching, caller: Caller, after: int, kinds: tuple[str, ...]) -> Iterator[Told]:
    """Yield the records of a ledger, page by page, up to its end."""
    while True:
        page = watching.records(caller, after, kinds)
        yield from page.records
        if page.revision == after:
            return
        after = page.revision


class KeptSteering:
    """What is stopped, and what others signal, on a ledger at hand, with the calls of a client."""

    def __init__(self, steering: Steering, caller: Caller) -> None:
        """Steer as the ledger's owner."""
        self._steering = steering
        self._caller = caller

    def suspend(
        self, scope: str, name: str, cause: str, mode: str = "suspended", lifetime: int = 0
    ) -> Stopped:  # fmt: skip
        """Stop something."""
        return self._steering.suspend(self._caller, scope, name, cause, mode, lifetime)

    def resume(self, scope: str, name: str, cause: str) -> Lifted:
        """Let something go on."""
        return self._steering.resume(self._caller, scope, name, cause)

    def suspensions(self) -> list[Suspension]:
        """Return what is stopped now, oldest first."""
        return self._steering.suspensions(self._caller)

    def signal(self, text: str) -> Signalled:
        """Take a security event in."""
        return self._steering.signal(self._caller, text)


class KeptApprovals:
    """Requests for approval on a ledger at hand, with the calls of a client."""

    def __init__(self, approvals: Approving, caller: Caller) -> None:
        """Ask as the ledger's owner."""
        self._approvals = approvals
        self._caller = caller

    def find(self, state: State | None = None, *, in_review: bool = False) -> list[Approval]:
        """Return all requests, newest first."""
        return self._approvals.find(self._caller, state, in_review=in_review)

    def page(self, search: Search) -> Found:
        """Return one page of requests, newest first."""
        return self._approvals.page(self._caller, search)

    def get(self, request_id: str) -> Approval:
        """Return one request."""
        return self._approvals.get(self._caller, request_id)

    def resolve(self, statement: str, key: PublicKey) -> Approval:
        """Hand a signed word in."""
        return self._approvals.resolve(self._caller, statement, key)
