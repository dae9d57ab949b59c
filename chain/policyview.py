"""What is told of policies: rules, cases that were run, differences, flips. Values, without the engine.

The law of this file: a leaf; service, client and commands show the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

Word: TypeAlias = Literal["deny", "approval", "permit"]

_WORDS: tuple[Word, ...] = ("deny", "approval", "permit")
"""From the narrowest to the widest."""


class Answer(NamedTuple):
    """What a policy says in the end, counting the people who approved.

    Attributes:
        word: what it comes to.
        people: how many it takes, where approval is what it takes.
        rules: ids of those that determined it.
        why: in words, where it does not permit.
    """

    word: Word
    people: int = 0
    rules: tuple[str, ...] = ()
    why: str = ""

    @property
    def width(self) -> tuple[int, int]:
        """Place in the order: deny, then approval by ever fewer people, then permit."""
        return _WORDS.index(self.word), -self.people

    def __str__(self) -> str:
        return f"{self.word} by {self.people}" if self.people else self.word

    @classmethod
    def parse(cls, text: str, rules: tuple[str, ...] = ()) -> Answer:
        """Return the answer that `str` made a text of.

        Raises:
            ValueError: it is none.
        """
        name, _, people = text.partition(" by ")
        for word in _WORDS:
            if name == word:
                return cls(word, int(people or 0), rules)
        raise ValueError("no answer of a policy")


class RuleView(NamedTuple):
    """One rule of a bundle.

    Attributes:
        id: the author's.
        file: where it stands.
        effect: ``permit`` or ``forbid``.
        threshold: people that it asks for instead of refusing; 0 where it is no gate.
        note: what the author says of it.
    """

    id: str
    file: str
    effect: str
    threshold: int
    note: str


class Validated(NamedTuple):
    """A bundle that validates.

    Attributes:
        digest: of its files, base64url.
        rules: ordered by id.
        cases: how many it brings.
    """

    digest: str
    rules: tuple[RuleView, ...]
    cases: int


class Activated(msgspec.Struct, frozen=True):
    """A bundle that was activated.

    Attributes:
        digest: of its files, base64url; empty where the last one was put out of force.
        previous: of the one before; empty where there was none.
        by: who did it.
        at: seconds.
        revision: of the record.
    """

    digest: str
    previous: str
    by: str
    at: int
    revision: int


class Shown(NamedTuple):
    """A bundle that is or was active.

    Attributes:
        digest: of its files.
        files: name -> text.
        active: whether it is.
        by, at: who activated what is active now, and when, in seconds.
    """

    digest: str
    files: Mapping[str, str]
    active: bool
    by: str
    at: int


class Ran(NamedTuple):
    """One case that was run.

    Attributes:
        name, file: of the case.
        passed: whether it came out as it says.
        detail: what came, and what was expected otherwise.
    """

    name: str
    file: str
    passed: bool
    detail: str


class Relation(StrEnum):
    """How the second policy relates to the first, as far as was tried."""

    EQUAL = "equal"
    NARROWER = "narrower"
    WIDER = "wider"
    INCOMPARABLE = "incomparable"


class Witness(NamedTuple):
    """A request on which two policies differ.

    Attributes:
        request: as members of a case (`chain.policyfacts.Stated`).
        before, after: what they say.
    """

    request: Mapping[str, Any]
    before: Answer
    after: Answer


class Flip(NamedTuple):
    """A recorded check that would come out otherwise.

    Attributes:
        revision: of the record.
        id: of the decision.
        tool: that was asked for.
        before, after: effects.
        detail: why, in words.
    """

    revision: int
    id: str
    tool: str
    before: str
    after: str
    detail: str


class Replayed(NamedTuple):
    """The ledger's last recorded checks under another policy.

    Attributes:
        flips: newest first.
        replayed: how many were decided anew.
        skipped: how many could not be: their chain, or a fact that the policy needs, is not held here.
        drifted: how many came out otherwise, and just so under the first policy: facts have changed since, not rules.
    """

    flips: tuple[Flip, ...] = ()
    replayed: int = 0
    skipped: int = 0
    drifted: int = 0


class Difference(NamedTuple):
    """A comparison.

    Attributes:
        relation: of the second to the first; EQUAL means that none of the requests tried told them apart.
        tried: how many requests were put to both.
        witnesses: one for each kind of difference, the first few.
        replay: recorded checks under the second.
    """

    relation: Relation
    tried: int
    witnesses: tuple[Witness, ...]
    replay: Replayed = Replayed()
