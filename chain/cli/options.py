"""Options that several commands share, each group given to its command as one value."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

import click
from msgspec import UnsetType

from chain import intent, mint
from chain.claims import Confirmation, Holder, Intent
from chain.cli import source
from chain.cli.output import seconds
from chain.errors import ConfigurationError, InvalidRequestError
from chain.grant import Grant
from chain.order import Issue
from chain.principal import SCHEME
from chain.state import DEFAULT_LIFETIME

T = TypeVar("T")
Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

IDS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""Of commands that take an id or a thumbprint: it may begin with a dash, and no short option stands beside it."""


def bundled(name: str, kind: type[Any], *options: Decorator) -> Decorator:
    """Return a decorator that adds options and hands their values on as one.

    Args:
        name: of the command's parameter.
        kind: takes the options' values by their names.
        options: from `click.option`, in the order of the help.
    """
    names = tuple(signature(kind).parameters)

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(**values: Any) -> object:  # noqa: ANN401 - click's parameters
            own = {name: values.pop(name) for name in names}
            return command(**values, **{name: kind(**own)})

        decorated: Command = run
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def on_the_line(name: str) -> bool:
    """Tell whether an option stands on the command line; what the environment names may be meant for other commands."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


@dataclass(frozen=True, slots=True)
class Extent:
    """What is granted, and for how long.

    Attributes:
        grant: JSON text, or a path.
        lifetime: seconds; None where it was not given.
        max_depth: highest position of a descendant; None for the default.
        audience: who may accept the token; empty for the default.
    """

    grant: str
    lifetime: int | None
    max_depth: int | None
    audience: tuple[str, ...]

    @property
    def seconds(self) -> int:
        """How long what is signed here lives."""
        return DEFAULT_LIFETIME if self.lifetime is None else self.lifetime

    @property
    def given(self) -> Grant:
        """The grant."""
        return mint.grant(source.json(self.grant, "--grant"))


@dataclass(frozen=True, slots=True)
class Terms(Extent):
    """What is granted, to whom and for how long.

    Attributes:
        to: path of the holder's public JWK, or its SPIFFE id.
    """

    to: str

    @property
    def holder(self) -> Holder:
        """The next holder: a key, or a workload by its SPIFFE id."""
        if not self.to.startswith(SCHEME):
            return source.public_key(self.to)
        try:
            return Confirmation(spiffe=self.to)
        except ValueError as error:
            raise ConfigurationError(f"--to: {error}") from None


_EXTENT = (
    click.option("--grant", required=True, metavar="JSON|FILE|-", help='{"tools": {..}, "limits": {..}}'),
    click.option(
        "--lifetime",
        metavar="TIME",
        callback=seconds,
        help="90, 90s, 15m, 1h or 7d. If not given: 1h; a root of a service, as long as it lets such a root live.",
    ),
    click.option("--max-depth", type=click.IntRange(0, 64), help="Highest hop that may follow (root: 8 if not given)."),
    click.option("--audience", multiple=True, metavar="URI", help="Who may accept the token; may be given again."),
)

extent = bundled("extent", Extent, *_EXTENT)

terms = bundled(
    "terms",
    Terms,
    click.option("--to", required=True, metavar="JWKFILE|ID", help="The next holder's public key, or its SPIFFE id."),
    *_EXTENT,
)


@dataclass(frozen=True, slots=True)
class RootFacts:
    """What a root says of its whole chain."""

    sub: str | None
    owner: str | None
    task: str | None
    instruction: str | None
    listed: bool

    @property
    def roots(self) -> bool:
        """Whether something was given that only a root says."""
        return self.listed or any((self.sub, self.task, self.instruction))

    def order(self, grant: Grant, extent: Extent, holder: Holder) -> Issue:
        """Return the root to be issued; its intent is bound to the instruction under a fresh salt.

        Args:
            grant: what is granted.
            extent: how far beside that.
            holder: to whom.

        Raises:
            InvalidRequestError: an instruction that binds nothing.
        """
        return Issue(
            holder=holder,
            grant=grant,
            lifetime=extent.lifetime,
            max_depth=8 if extent.max_depth is None else extent.max_depth,
            audience=extent.audience or None,
            sub=self.sub,
            owner=self.owner,
            task=self.task,
            intent=None if self.instruction is None else _bound(self.instruction),
            listed=self.listed,
        )


def _instruction(given: str) -> str:
    """Return an instruction: the text itself, or that of the file that it names behind an `@`."""
    return source.text(given[1:]) if given.startswith("@") else given


def _bound(given: str) -> Intent:
    try:
        return intent.bind(_instruction(given), os.urandom(intent.SALT_BYTES))
    except ValueError as error:
        raise InvalidRequestError(f"--instruction: {error}") from None


def _declared(given: str, root: str) -> str:
    """Return the digest that a call declares under a root."""
    bound = mint.unverified(root).claims.intent
    if isinstance(bound, UnsetType):
        raise InvalidRequestError("--instruction: the chain's root binds no instruction")
    try:
        return intent.declared(bound, _instruction(given))
    except ValueError as error:
        raise InvalidRequestError(f"--instruction: {error}") from None


root_facts = bundled(
    "facts",
    RootFacts,
    click.option("--sub", metavar="WHO", help="On whose behalf."),
    click.option("--owner", metavar="WHO", help="The accountable person or team."),
    click.option("--task", metavar="ID", help="The task, `txn` in the token."),
    click.option("--instruction", metavar="TEXT|@FILE", help="Bind the task to this instruction, by a salted hash."),
    click.option("--listed", is_flag=True, help="With --server: give it a place in the service's status list."),
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is asked about, and what the agent states beside it."""

    tool: str
    arguments: str
    purpose: str | None
    intent: str | None
    instruction: str | None
    label: tuple[str, ...]
    classification: str | None

    @property
    def args(self) -> dict[str, Any]:
        """The arguments, decoded strictly."""
        return source.json(self.arguments, "ARGUMENTS")

    def stated(self, tokens: Sequence[str]) -> dict[str, Any]:
        """Return what is stated beside tool and arguments.

        Args:
            tokens: the chain, whose root says how an instruction is digested.

        Raises:
            ConfigurationError: both an intent and an instruction.
            InvalidRequestError: an instruction under a root that binds none.
        """
        if self.intent is not None and self.instruction is not None:
            raise ConfigurationError("give one of --intent and --instruction")
        intended = self.intent if self.instruction is None else _declared(self.instruction, tokens[0])
        facts = {"purpose": self.purpose, "intent": intended, "classification": self.classification}
        return {name: value for name, value in (facts | {"labels": self.label or None}).items() if value is not None}


call = bundled(
    "call",
    Call,
    click.argument("tool"),
    click.argument("arguments", default="{}", metavar="[JSON|FILE|-]"),
    click.option("--purpose", envvar="CHAIN_PURPOSE", metavar="NAME", help="The agent's declared purpose, dotted."),
    click.option("--intent", metavar="DIGEST", help="Digest of the instruction that the agent works for."),
    click.option("--instruction", metavar="TEXT|@FILE", help="The instruction itself; its digest is made here."),
    click.option("--label", metavar="WORD", multiple=True, help="What the agent says of its prompt; repeatable."),
    click.option("--classification", metavar="LABEL", help="Label of the data touched, by the enforcement point."),
)
