"""The catalogue of tools: what kind of action each one is, how sensitive, on which system.

The law of this file: what the catalogue does not know is `act`, most sensitive and on an unknown system. An
agent's own words never lower any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from chain.grant import RESERVED_PREFIX, ActionClass
from chain.jcs import Json

Sensitivity: TypeAlias = Literal["low", "moderate", "high", "critical"]


class AmountOf(BaseModel):
    """Where a call of a tool says how much money it moves.

    Attributes:
        argument: name of the argument: an integer, or a decimal as text or number.
        currency: ISO 4217 code that it is in; or
        currency_argument: name of the argument that says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    argument: str = Field(min_length=1, max_length=256)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3,8}$")
    currency_argument: str | None = Field(default=None, min_length=1, max_length=256)

    @model_validator(mode="after")
    def _one_currency(self) -> Self:
        if (self.currency is None) is (self.currency_argument is None):
            raise ValueError("an amount has a `currency` or a `currency_argument`")
        return self


class Tool(BaseModel):
    """One tool.

    Attributes:
        action_class: read, write or act (``class`` in files).
        sensitivity: how much harm a wrong call does.
        target: the system it acts on; None where unknown.
        classification: the least data label that any call touches; None where the catalogue does not say.
        amount: where a call says how much money it moves; None where it moves none, or nobody says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    action_class: ActionClass = Field(default="act", alias="class")
    sensitivity: Sensitivity = "critical"
    target: str | None = None
    classification: str | None = None
    amount: AmountOf | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Json) -> Json:
        return {"class": value} if isinstance(value, str) else value


UNKNOWN = Tool()
"""What a tool is that the catalogue does not list."""

_OWN = Tool(action_class="read", target="chain")
"""The authority's own tools: doing them twice is doing them once, so a proven channel needs no single-use id."""


class Catalogue(RootModel[Mapping[str, Tool]]):
    """Tool name -> what it is. In files ``{"mail.read": {"class": "read"}}``, or in short ``{"mail.read": "read"}``."""

    model_config = ConfigDict(frozen=True)

    root: Mapping[str, Tool] = {}

    @model_validator(mode="before")
    @classmethod
    def _wrapped(cls, value: Json) -> Json:
        """Take ``{"tools": {...}}`` too, the form of a catalogue file with a heading."""
        inner = value.get("tools") if isinstance(value, dict) and value.keys() == {"tools"} else None
        if (
            isinstance(inner, dict)
            and not inner.keys() & Tool.model_fields.keys() - {"target"}
            and "class" not in inner
        ):
            return inner
        return value

    def tool(self, name: str) -> Tool:
        """Return what is known of a tool; an unlisted one is `UNKNOWN`."""
        return _OWN if name.startswith(RESERVED_PREFIX) else self.root.get(name, UNKNOWN)
