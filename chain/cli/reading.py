"""Where the record is read from: a service, a ledger at hand, or an exported file.

The law of this file: all three give the same records, in order. What an export is worth is asked before it is read,
where the reader names the log's key; without one, that is said.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from chain import intact, ledger
from chain.cli import remote
from chain.cli.options import bundled
from chain.errors import ConfigurationError, ForbiddenError, StoreError
from chain.export import Head, Signed
from chain.given import Entry
from chain.history import GIVEN, History
from chain.note import Note, NoteKey
from chain.watch import Told

MAX_LINE = 8 * 1024 * 1024
"""Bytes of a line of an export: a record holds no more than a call brings. Only the roots of the tiles may be longer,
and they are shorter than what came before them."""

_RECORD = b'{"revision":'

_WHOLE = {**dict.fromkeys(GIVEN, "grant"), "decided": "reason", "refused": "reason"}
"""Kind of a record -> a member that only an auditor or operator is told (`chain.watch.told`)."""


@dataclass(frozen=True, slots=True)
class Record:
    """Which record is read, and up to when.

    Attributes:
        export: a file that `chain audit export` wrote, instead of an authority.
        key: verifies the export.
        at: seconds; as things were at that instant.
    """

    export: Path | None
    key: str | None
    at: float | None

    @property
    def now(self) -> float:
        """The instant that is asked about, in seconds: the present, unless another was named."""
        return time.time() if self.at is None else self.at

    def history(self, where: remote.Where) -> History:
        """Return what it tells.

        Raises:
            ConfigurationError: none is named, or two.
            ForbiddenError: this caller is not told the whole ledger.
            StoreError: the export is not intact.
        """
        return History(self.entries(where), self.at)

    def entries(self, where: remote.Where, after: int = 0) -> Iterator[Entry]:
        """Yield the records after a revision, in order."""
        if self.export is None:
            if self.key is not None:
                raise ConfigurationError("--key verifies an --export")
            yield from _followed(where, after)
            return
        if where.named:
            raise ConfigurationError("--export is read instead of an authority; give one of them")
        with _open(self.export) as file:
            try:
                self._require_intact(file)
                yield from (entry for entry in _exported(file) if entry.revision > after)
            except OSError as error:
                raise ConfigurationError(
                    f"export `{self.export}`: {error.strerror or 'cannot be read twice'}"
                ) from None

    def checkpoint(self) -> tuple[Note, NoteKey] | None:
        """Return the last checkpoint of the export, with the key of its log; None where no key was named.

        Raises:
            NoteError: the log did not sign it.
            StoreError: there is none.
        """
        if self.export is None or self.key is None:
            return None
        with _open(self.export) as file:
            last = b""
            for line in lines(file):
                last = line if line.startswith(b'{"checkpoint":') else last
        key = NoteKey.parse(self.key)
        try:
            note = Note.parse(msgspec.json.decode(last, type=Signed).checkpoint.encode())
        except (ValueError, RecursionError):  # msgspec's own errors are the former
            raise StoreError("the export holds no checkpoint; see `chain audit verify`") from None
        note.require([key])
        return note, key

    def _require_intact(self, file: BinaryIO) -> None:
        if self.key is None:
            click.echo("chain: the export was not verified; --key does that", err=True)
            return
        verdict = intact.verify(lines(file), NoteKey.parse(self.key))
        if not verdict.intact:
            raise StoreError(f"the export is not intact: {verdict.flaws[0].what}; see `chain audit verify`")
        file.seek(0)


def _followed(where: remote.Where, after: int) -> Iterator[Entry]:
    with where.connect() as client, client.watch(after, until_now=True) as news:
        yield from whole(news)


def whole(news: Iterable[Told]) -> Iterator[Entry]:
    """Yield records as they are told.

    Raises:
        ForbiddenError: this caller is not told the whole ledger.
    """
    for told in news:
        body = told.members
        if told.kind in _WHOLE and _WHOLE[told.kind] not in body:
            raise ForbiddenError("this caller is not told the whole ledger; ask as an auditor or operator")
        yield Entry(told.revision, told.kind, told.time, body)


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of an export. What is longer than a line may be comes without its newline, and is the last."""
    before = 0
    while line := file.readline(max(MAX_LINE, before)):
        yield line
        if not line.endswith(b"\n"):
            return
        before += len(line)


def head(file: BinaryIO) -> Head:
    """Return what an export promises in its first line.

    Raises:
        StoreError: it is no export.
    """
    try:
        return msgspec.json.decode(file.readline(MAX_LINE), type=Head)
    except (ValueError, RecursionError):
        raise StoreError("the export is not one: its first line does not say so") from None


def _exported(file: BinaryIO) -> Iterator[Entry]:
    """Yield the records that an export promises. Whether they are those that were signed, `intact` says.

    Raises:
        StoreError: it is none, is cut off, or holds others in between.
    """
    promised, found = head(file).records, lines(file)
    for revision in range(1, promised + 1):
        line = next(found, b"")
        if not line.startswith(_RECORD):
            raise StoreError(f"the export ends before record {revision} of {promised}; see `chain audit verify`")
        record = ledger.decode(line.removesuffix(b"\n"))
        if record.revision != revision:
            raise StoreError(f"the export has record {record.revision} for {revision}; see `chain audit verify`")
        yield Entry(record.revision, record.kind, record.time, record.body)
    if next(found, b"").startswith(_RECORD):
        raise StoreError(f"the export holds more than the {promised} records that it says; see `chain audit verify`")


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"export `{path}`: {error.strerror}") from None


def instant(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Read an option that is an instant: seconds since the epoch, or ISO 8601, without a zone in UTC.

    Raises:
        BadParameter: anything else.
    """
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"`{value}` is no instant; write 2026-11-26T14:00:00Z, or seconds") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


record = bundled(
    "record",
    Record,
    click.option(
        "--export",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read what `chain audit export` wrote, instead of an authority.",
    ),
    click.option("--key", metavar="VKEY", help="The log's verifier key: believe the export only if it is intact."),
    click.option("--at", callback=instant, metavar="TIME", help="As things were then; ISO 8601 or seconds."),
)
