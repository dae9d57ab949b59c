"""`chain demo`: one story through a real server, and whether it came out as told."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import click

from chain.cli import demo_oversight, demo_story
from chain.cli.demo_stage import GATE, Stage
from chain.cli.demo_story import AGENTS, CATALOGUE, Outcome, Step, Story, Told
from chain.cli.output import colour, json_option, paint, print_json, printable, row, wrapped
from chain.errors import ChainError, ConfigurationError

ENDED = 128 + signal.SIGTERM
"""Exit code of a demonstration that was told to end, as a shell would report it."""

STEPS: tuple[Step, ...] = (*demo_story.STEPS, *demo_oversight.STEPS)
"""Both acts."""

_HEADINGS = ("", "who", "what was asked", "decided", "why", "hop", "ms")
_WIDTHS = (2, 12, 21, 9, 19, 3, 4)
"""Columns; with one space between them they fill 76 of 80."""

_WHY = {"ISSUED": "by a trusted issuer", "DELEGATED": "within its parent", "ALLOW": "every hop permits"}
"""What stands where a refusal would have its reason."""

_SHOWN = {"APPROVAL_REQUIRED": "WAITS"}
"""What a column is too narrow for."""

_COLOURS = {"APPROVAL_REQUIRED": "yellow", "DENY": "red", "REFUSED": "red", "REVOKED": "yellow"}


class _Played(NamedTuple):
    """A step and what came of it."""

    step: Step
    outcome: Outcome

    @property
    def as_told(self) -> bool:
        return self.outcome.told == self.step.expected


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Leave ledger, keys and chains in DIR.")
@json_option
@click.pass_context
def demo(ctx: click.Context, keep: Path | None, *, as_json: bool) -> None:
    """Play one story through a real server, and check that it comes out as told.

    Starts `chain serve` on a free loopback port with a SQLite ledger. A human's grant goes to an orchestrator and on
    to agents beneath it; there are allowed calls, over-asking, a forged token, a stolen one, a replay, an expiry
    and a revocation. Then a shared budget, a transfer that two people have to approve, a suspension, a signal that
    raises an agent's risk, and a policy that changes under a chain that runs.

    Exit 0 only when every step came out as told, 1 when one did not.
    """
    start = time.monotonic()
    played: list[_Played] = []
    with _ending() as ended, _folder(keep) as folder, Stage(folder, AGENTS, CATALOGUE) as stage:
        if not as_json:
            _open(stage)
        story = Story(stage)
        for number, step in enumerate(STEPS, 1):
            if ended.is_set():
                ctx.exit(ENDED)
            played.append(_Played(step, _outcome(step, story)))
            if not as_json:
                _print_step(number, played[-1])
    seconds = time.monotonic() - start
    good = all(one.as_told for one in played)
    if as_json:
        print_json(_data(played, stage.address, seconds, keep))
    else:
        _close(played, seconds, keep)
    ctx.exit(0 if good else 1)


@contextmanager
def _ending() -> Iterator[Event]:
    """Yield what SIGTERM sets: the story ends between two steps, and the server with it.

    Nothing is raised from the handler, since gRPC may be running just then and would swallow it.
    """
    ended = Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield an empty directory that only its owner can enter.

    Raises:
        ConfigurationError: DIR holds something, or cannot be made.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="chain-demo-") as made:
            yield Path(made)
        return
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise ConfigurationError(f"`{keep}` is not empty")
        keep.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(f"`{keep}`: {error.strerror}") from None
    yield keep.resolve()


def _outcome(step: Step, story: Story) -> Outcome:
    """Play a step; an error that no step expects is its outcome, and the story goes on."""
    try:
        return step.play(story)
    except (ChainError, KeyError) as error:
        reason = error.reason.value if isinstance(error, ChainError) else "internal"
        return Outcome(Told("ERROR", reason), 0.0, str(error))


def _open(stage: Stage) -> None:
    click.echo(wrapped(f"A server answers on {stage.address}, with a ledger of its own. The story begins."))
    click.echo("\n" + row(_HEADINGS, _WIDTHS))
    click.echo(row(["-" * width for width in _WIDTHS], _WIDTHS))


def _print_step(number: int, played: _Played) -> None:
    effect, reason, hop = played.outcome.told
    place = "" if hop is None else str(hop)
    cells = (
        str(number),
        played.step.who,
        played.step.asked,
        _SHOWN.get(effect, effect),
        reason or _WHY.get(effect, ""),
        place,
        f"{played.outcome.ms:.1f}",
    )
    text = row(cells, _WIDTHS)
    if not played.as_told:
        text += f"\n   NOT AS TOLD: {_words(played.step.expected)} was to come of it"
    shade = _COLOURS.get(effect, "green") if played.as_told else "magenta"
    shown = _SHOWN.get(effect, effect)
    click.echo(text.replace(shown, paint(shown, shade, on=colour()), 1))
    sys.stdout.flush()


def _words(told: Told) -> str:
    at = "" if told.hop is None else f" at hop {told.hop}"
    return f"{told.effect} {told.reason}".strip() + at


def _close(played: Sequence[_Played], seconds: float, keep: Path | None) -> None:
    click.echo("\nwhat the refusals said")
    for number, one in enumerate(played, 1):
        if one.outcome.told.effect in {"DENY", "REFUSED", "ERROR", "APPROVAL_REQUIRED"}:
            hop = one.outcome.told.hop
            where = "" if hop is None else f"hop {hop}: "
            click.echo(wrapped(f"{where}{one.outcome.detail}", f"{number:>4}  ", "      "))
            if one.outcome.field:
                said = f"field {one.outcome.field}, parent {one.outcome.parent}, child {one.outcome.child}"
                click.echo(wrapped(said, "      ", "        "))
    wrong = sum(not one.as_told for one in played)
    on = colour()
    if wrong:
        verdict = paint(f"{wrong} of {len(played)} steps did not come out as told", "red", on=on)
    else:
        verdict = paint(f"all {len(played)} steps came out as told", "green", on=on)
    click.echo(f"\n{verdict} ({seconds:.1f} s)")
    if keep is not None:
        _suggest(keep)


def _suggest(keep: Path) -> None:
    """Print commands that go on from what was kept, ready to be pasted."""
    folder = shlex.quote(str(keep))
    check = [
        f'chain check mail.read \'{{"folder":"receipts"}}\' --ledger {folder} --purpose travel',
        f"--chain {folder}/chains/researcher.chain --key {folder}/keys/researcher.key",
        f"--audience {GATE}",
    ]
    click.echo(f"\nkept in {printable(str(keep))}; go on with")
    click.echo(f"  chain inspect {folder}/chains/clerk.chain --anchor {folder}/keys/issuer.jwk")
    click.echo("  " + " \\\n    ".join(check))
    click.echo(f"  chain serve --config {folder}/chain.toml")


def _data(played: Sequence[_Played], address: str, seconds: float, keep: Path | None) -> dict[str, Any]:
    return {
        "as_told": all(one.as_told for one in played),
        "server": address,
        "seconds": round(seconds, 3),
        "kept": None if keep is None else str(keep.resolve()),
        "steps": [_step_data(number, one) for number, one in enumerate(played, 1)],
    }


def _step_data(number: int, played: _Played) -> dict[str, Any]:
    outcome = played.outcome
    data: dict[str, Any] = {
        "step": number,
        "who": played.step.who,
        "asked": played.step.asked,
        **outcome.told._asdict(),
        "detail": outcome.detail,
        "ms": round(outcome.ms, 3),
        "expected": played.step.expected._asdict(),
        "as_told": played.as_told,
    }
    if outcome.field:
        data |= {"field": outcome.field, "parent": outcome.parent, "child": outcome.child}
    return data
