"""What is asked, once.

The law of this file: what the agent states can only narrow. Purpose, intent and labels are the agent's words and
are covered by its proof; audience, classification and who the channel proved are the enforcement point's.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from chain import jcs

_Name = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Request(BaseModel):
    """One call that an agent wants to make.

    Attributes:
        tool: exact name.
        arguments: all of them, I-JSON.
        purpose: the agent's declared purpose, dotted.
        intent: digest of the instruction that the agent says it works for.
        labels: what the agent says of its prompt, e.g. ``tainted``; they can only raise risk.
        audience: the enforcement point that asks.
        classification: label of the data that the call touches, by the enforcement point.
        proof: the holder's proof of possession, a compact JWS.
        holder: thumbprint of the key that the channel itself proved the caller to hold.
        request_id: single-use id; a write or act over a proven channel needs one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool: _Name
    arguments: dict[str, Any] = Field(default_factory=dict)
    purpose: _Name | None = None
    intent: _Name | None = None
    labels: tuple[_Name, ...] = ()
    audience: _Name | None = None
    classification: _Name | None = None
    proof: str | None = None
    holder: str | None = None
    request_id: Annotated[str, StringConstraints(min_length=16, max_length=128)] | None = None

    @field_validator("arguments")
    @classmethod
    def _json(cls, value: dict[str, Any]) -> dict[str, Any]:
        jcs.check(value)
        return value

    @cached_property
    def canonical_arguments(self) -> bytes:
        """RFC 8785 bytes of the arguments."""
        return jcs.dumps(self.arguments)

    @property
    def stated(self) -> dict[str, Any]:
        """The facts that the agent states beside tool and arguments: what a proof's `ctx` covers."""
        facts = {"purpose": self.purpose, "intent": self.intent, "labels": list(self.labels)}
        return {name: value for name, value in facts.items() if value}
