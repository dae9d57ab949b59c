"""How a call is put to a service or to the judge at hand: with a proof made here, or over a proven channel."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from pydantic import ValidationError

from chain import mint, proof
from chain.cli import options
from chain.cli.options import Call, bundled
from chain.errors import ConfigurationError, InvalidRequestError
from chain.identity import keyfile
from chain.request import Request


@dataclass(frozen=True, slots=True)
class Holder:
    """How the holder is shown.

    Attributes:
        key: the leaf holder's key file; signs a fresh proof.
        proof: a proof that was made elsewhere.
        channel: the channel proves the holder.
        vouched: SPIFFE id of the holder, whom the caller authenticated by itself.
        audience: the enforcement point that asks.
    """

    key: Path | None
    proof: str | None
    channel: bool
    vouched: str | None
    audience: str | None

    @property
    def shown_otherwise(self) -> bool:
        """Whether the line says how the holder is shown, and not with a key."""
        return self.proof is not None or self.channel or self.vouched is not None

    def request(self, call: Call, tokens: Sequence[str]) -> Request:
        """Return the request for a call.

        Raises:
            ConfigurationError: more than one way to show the holder, or a proof that nobody could check.
            InvalidRequestError: the call is not well formed.
        """
        key = None if self.shown_otherwise and not options.on_the_line("key") else self.key
        if sum((key is not None, self.proof is not None, self.channel, self.vouched is not None)) > 1:
            raise ConfigurationError("give one of --key, --proof, --channel and --vouched")
        try:
            request = Request(tool=call.tool, arguments=call.args, audience=self.audience, **call.stated(tokens))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise InvalidRequestError(f"`{'.'.join(map(str, fault['loc']))}`: {fault['msg']}") from None
        if self.channel:
            leaf = mint.unverified(tokens[-1])
            return request.model_copy(update={"holder": leaf.holder, "request_id": _fresh()})
        if self.vouched is not None:
            return request.model_copy(update={"spiffe": self.vouched, "request_id": _fresh()})
        text = self.proof if key is None else self._made(key, request, tokens)
        return request.model_copy(update={"proof": text})

    def _made(self, key: Path, request: Request, tokens: Sequence[str]) -> str:
        if self.audience is None:
            raise ConfigurationError("a proof is made for one enforcement point: give --audience")
        return proof.make(
            keyfile.load(key),
            mint.unverified(tokens[-1]),
            request.tool,
            request.arguments,
            audience=self.audience,
            jti=_fresh(),
            iat=int(time.time()),
            facts=request.stated,
        )


def _fresh() -> str:
    return mint.uuid7(time.time(), os.urandom(10))


holder = bundled(
    "holder",
    Holder,
    click.option(
        "--key",
        type=click.Path(path_type=Path),
        envvar="CHAIN_KEY",
        metavar="KEYFILE",
        help="Sign a proof with this key file.",
    ),
    click.option("--proof", metavar="JWS", help="A proof that was made elsewhere."),
    click.option("--channel", is_flag=True, help="The channel proves the holder."),
    click.option("--vouched", metavar="ID", help="The caller, an enforcement point, authenticated this SPIFFE id."),
    click.option("--audience", envvar="CHAIN_AUDIENCE", metavar="URI", help="The enforcement point that asks."),
)
