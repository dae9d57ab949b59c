"""What is asked, once.

The law of this file: what the agent states can only narrow. Purpose, intent and labels are the agent's words and
are covered by its proof; audience, classification and who the channel proved are the enforcement point's.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from chain import jcs, tracecontext

MAX_ARGUMENT_BYTES = 128 * 1024
"""Canonical bytes of all arguments: what a proof could carry, and what every hop is asked about."""

MAX_ARGUMENT_NAMES = 256
"""Arguments of one call: four times what a constrained tool may name."""

MAX_VALUES = 10_000
"""JSON values in all arguments together: bounds what a constraint on arrays costs at every hop."""

MAX_LABELS = 16
"""Labels of one prompt."""

_Name = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Request(BaseModel):
    """One call that an agent wants to make.

    Attributes:
        tool: exact name.
        arguments: all of them, I-JSON, within the bounds above.
        purpose: the agent's declared purpose, dotted.
        intent: digest of the instruction that the agent says it works for.
        labels: what the agent says of its prompt, e.g. ``tainted``; they can only raise risk.
        audience: the enforcement point that asks.
        classification: label of the data that the call touches, by the enforcement point.
        proof: the holder's proof of possession, a compact JWS.
        holder: thumbprint of the key that the channel itself proved the caller to hold.
        spiffe: SPIFFE id of the holder, as the channel itself proved it, or as an enforcement point vouches for it.
        certificate: base64url SHA-256 of the certificate that the channel itself proved (RFC 8705 s3.1).
        trace: W3C `traceparent` of whatever the call is a part of; it stands in the record, and decides nothing.
        request_id: single-use id; a write or act over a proven channel needs one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool: _Name
    arguments: dict[str, Any] = Field(default_factory=dict)
    purpose: _Name | None = None
    intent: _Name | None = None
    labels: tuple[Annotated[str, StringConstraints(min_length=1, max_length=256)], ...] = Field(
        default=(), max_length=MAX_LABELS
    )
    audience: _Name | None = None
    classification: _Name | None = None
    proof: str | None = None
    holder: str | None = None
    spiffe: str | None = None
    certificate: str | None = None
    trace: str | None = None
    request_id: Annotated[str, StringConstraints(min_length=16, max_length=128)] | None = None

    @field_validator("trace")
    @classmethod
    def _traced(cls, trace: str | None) -> str | None:
        if trace is not None and tracecontext.parse(trace) is None:
            raise ValueError("no traceparent of version 00")
        return trace

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        """Refuse arguments that are not I-JSON, or larger than any honest call's, before anything is asked."""
        if len(self.arguments) > MAX_ARGUMENT_NAMES:
            raise ValueError(f"{len(self.arguments)} arguments, more than {MAX_ARGUMENT_NAMES}")
        size = len(self.canonical_arguments)
        if size > MAX_ARGUMENT_BYTES:
            raise ValueError(f"{size} bytes of arguments, more than {MAX_ARGUMENT_BYTES}")
        if size > MAX_VALUES and jcs.size(self.arguments) > MAX_VALUES:  # a value takes a byte at least
            raise ValueError(f"more than {MAX_VALUES} values in the arguments")
        return self

    @cached_property
    def canonical_arguments(self) -> bytes:
        """RFC 8785 bytes of the arguments."""
        return jcs.dumps(self.arguments)

    @property
    def shown(self) -> bool:
        """Whether anything but a proof shows who the holder is."""
        return not self.holder is self.spiffe is self.certificate is None

    @property
    def stated(self) -> dict[str, Any]:
        """The facts that the agent states beside tool and arguments: what a proof's `ctx` covers."""
        facts = {"purpose": self.purpose, "intent": self.intent, "labels": list(self.labels)}
        return {name: value for name, value in facts.items() if value}
