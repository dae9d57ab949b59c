"""Cases: what a bundle's author expects of it, kept beside it and run without a server.

The law of this file: a case that cannot be read is an error, never a case that passes. That there was no case at all is
for whoever shows the result to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from chain import jcs, strangetoml
from chain.errors import PolicyError, clip
from chain.policy import Policy
from chain.policyfacts import Stated, ask
from chain.policyview import Answer, Ran, Word

MAX_CASES = 2_000
"""Of one bundle."""


class Case(Stated):
    """One case: a question with its facts, and what has to come of it.

    Attributes:
        name: says what it shows.
        expect: the word.
        people: how many the approval takes; None where that does not matter.
        rules: ids of the rules that have to determine it, all of them; None where that does not matter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    expect: Word
    people: int | None = Field(default=None, ge=1)
    rules: frozenset[str] | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.people is not None and self.expect != "approval":
            raise ValueError('`people` goes with `expect = "approval"` only')
        return self

    def fault(self, got: Answer) -> str:
        """Return what is wrong with an answer, or nothing."""
        if got.word != self.expect:
            return f"expected {self.expect}, got {got}"
        if self.people not in (None, got.people):
            return f"expected approval by {self.people}, got {got}"
        if self.rules is not None and self.rules != set(got.rules):
            return f"expected it of {_listed(self.rules)}, got it of {_listed(got.rules)}"
        return ""


_FORMS = ("str", "ToolFacts", "constrained-int", "tuple[str, ...]")
"""How the form of a member that has several is called in an error; no member is called so."""

_cases = TypeAdapter(tuple[Case, ...])


def cases(files: Mapping[str, str]) -> list[tuple[str, Case]]:
    """Return every case with the file that it stands in, in the order of the files.

    Args:
        files: name -> text (`chain.bundle.Bundle.cases`): TOML with tables `[[case]]`, or the same as JSON.

    Raises:
        PolicyError: one that cannot be read, with its file, its number and the member.
    """
    found = [(name, case) for name in sorted(files) for case in _read(name, files[name])]
    if len(found) > MAX_CASES:
        raise PolicyError(f"{len(found)} cases, more than {MAX_CASES}")
    return found


def _read(file: str, text: str) -> Iterable[Case]:
    try:
        data: Any = jcs.loads(text.encode()) if file.endswith(".json") else strangetoml.loads(file, text)
    except ValueError as error:
        raise PolicyError(f"{file}: {clip(str(error))}") from None
    if not isinstance(data, dict) or data.keys() - {"case"}:
        extra = sorted(data.keys() - {"case"})[:4] if isinstance(data, dict) else []
        raise PolicyError(
            f"{file}: holds a list `case` and nothing else" + (f", not {_listed(extra)}" if extra else "")
        )
    listed = data.get("case", [])
    try:
        return _cases.validate_python(listed)
    except ValidationError as error:
        raise PolicyError(f"{file}: {_fault(error, listed)}") from None


def _fault(error: ValidationError, listed: object) -> str:
    faults = error.errors(include_url=False, include_input=False)
    fault = next((one for one in faults if one["type"] != "string_type"), faults[0])  # of a tool that is a table
    where, words = fault["loc"], fault["msg"].removeprefix("Value error, ")
    if not where or not isinstance(where[0], int) or not isinstance(listed, list):
        return words
    case = listed[where[0]]
    name = case.get("name") if isinstance(case, dict) else None
    named = f" `{clip(name, 80)}`" if isinstance(name, str) else ""
    member = ".".join(str(part) for part in where[1:] if part not in _FORMS)
    words = "is no member that a case has" if fault["type"] == "extra_forbidden" else words
    return f"case {where[0] + 1}{named}: " + (f"`{clip(member, 80)}`: {words}" if member else words)


def run(policy: Policy) -> tuple[Ran, ...]:
    """Run a bundle's own cases.

    Raises:
        PolicyError: one cannot be read.
    """
    return tuple(_run(policy, file, case) for file, case in cases(policy.bundle.cases))


def _run(policy: Policy, file: str, case: Case) -> Ran:
    try:
        got = ask(policy, case)
    except PolicyError as error:
        raise PolicyError(f"{file}: case `{case.name}`: {error.detail}") from None
    fault = case.fault(got)
    told = fault or str(got)
    return Ran(case.name, file, not fault, f"{told}: {got.why}" if got.why else told)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{clip(name, 80)}`" for name in sorted(names)) or "no rule"
