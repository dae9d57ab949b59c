"""Which caller a person is: what the configuration says of their issuer, subject and claims, and nothing else.

The law of this file: a signed claim is no authority. Whoever no line of the configuration speaks for is nobody; of
those that do the most exact one counts alone, and two that are equally exact let nobody in: roles are never added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from chain.caller import Caller
from chain.errors import UnauthenticatedError, clip
from chain.jcs import Json
from chain.peer import Person
from chain.service.callers import Callers, Workloads, by_token
from chain.service.credentials import Credential, Credentials, Identity


class People(Protocol):
    """Knows the people of the OpenID providers that are configured, as they are now."""

    def takes(self, token: str) -> bool:
        """Tell, unverified, whether a token is for this verifier and no other."""
        ...

    def person(self, token: str) -> Person:
        """Return the person whom a token names.

        Raises:
            UnauthenticatedError: it names nobody.
        """
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """Whom a line of the configuration means.

    Attributes:
        issuer: of their tokens.
        subject: the one person; None for all of whom the claims hold.
        claims: claim -> a value that it has, or has among others.
    """

    issuer: str
    subject: str | None
    claims: Mapping[str, str]

    def means(self, person: Person) -> bool:
        """Tell whether a person is meant: everything that is stated holds."""
        if person.issuer != self.issuer or self.subject not in (None, person.subject):
            return False
        return all(_has(person.claims, claim, value) for claim, value in self.claims.items())

    @property
    def exactness(self) -> tuple[bool, int]:
        """How exact it is: a person is before a group, and more claims before fewer."""
        return self.subject is not None, len(self.claims)


class Persons:
    """The callers that are known by an OIDC token."""

    def __init__(self, rows: Iterable[tuple[Description, Caller]]) -> None:
        """Take over what is configured."""
        self._rows = sorted(rows, key=lambda row: row[0].exactness, reverse=True)

    def of(self, person: Person) -> Caller:
        """Return the caller that a person is.

        Raises:
            UnauthenticatedError: nobody who is configured, or one of two and nothing says which.
        """
        fitting = [(said, row) for said, row in self._rows if said.means(person)]
        if not fitting:
            raise UnauthenticatedError(f"no caller is configured for `{clip(person.name)}`")
        if len(fitting) > 1 and fitting[0][0].exactness == fitting[1][0].exactness:
            raise UnauthenticatedError(
                f"two callers are configured for `{clip(person.name)}`, and neither is more exact"
            )
        said, row = fitting[0]
        return row if said.subject is not None else replace(row, name=person.name)


def credentials(
    known: Iterable[Credential],
    clock: Callable[[], float],
    workloads: tuple[Workloads, Callers] | None,
    people: tuple[People, Persons] | None,
) -> Credentials:
    """Return the bearer credentials that a listener takes: secrets, JWT-SVIDs and OIDC tokens.

    Args:
        known: secrets.
        clock: seconds since the epoch.
        workloads: who verifies JWT-SVIDs, and who of them is a caller; None takes none.
        people: the same of OIDC tokens.
    """
    svids = None if workloads is None else by_token(workloads[0].bearer, workloads[1].of)
    if people is None:
        return Credentials(known, clock, svids)
    verifier, persons = people[0], by_token(people[0].person, people[1].of)

    def identify(token: str) -> Identity:
        """Ask one verifier and never a second: what one refuses must not be tried at another."""
        if svids is not None and not verifier.takes(token):
            return svids(token)
        return persons(token)

    return Credentials(known, clock, identify)


def _has(claims: Mapping[str, Json], claim: str, value: str) -> bool:
    if claim == "email" and claims.get("email_verified") is not True:
        return False  # whoever signs up with another's address has it as a claim, until it is verified
    stated = claims.get(claim)
    return stated == value if isinstance(stated, str) else isinstance(stated, list) and value in stated
