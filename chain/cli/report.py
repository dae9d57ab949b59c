"""`chain report`: the record as one page that needs no server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from chain import ledger
from chain.checkpoint import Checkpoint
from chain.cli import remote
from chain.cli.audit_record import write
from chain.cli.output import json_option, moment, print_json, printable
from chain.cli.reading import Record, record
from chain.errors import ConfigurationError, InvalidRequestError, NotFoundError
from chain.given import Entry
from chain.graph import review
from chain.graph.forest import Forest
from chain.history import History
from chain.merkle import leaf_hash
from chain.note import Note, NoteKey
from chain.report import Origin, data, log, page, reviewed, shown


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.html")
@click.option("--task", metavar="ID", help="Only what belongs to this task.")
@record
@remote.where
@json_option
def report(out: Path, task: str | None, record: Record, where: remote.Where, *, as_json: bool) -> None:
    """Write the record as one HTML file: the graph, calls and refusals, approvals, findings, and what proves them.

    The file needs no server and no network, and verifies the records that it holds by itself. It tells all that an
    auditor is told, so that nobody else may read it (mode 0600). A running service (--server) is asked as an auditor
    or operator. An export is proven in the page where --key names its log.
    """
    if out.suffix not in {".html", ".htm"}:
        raise ConfigurationError(f"`{out}`: a report is written to a file named .html, over an older one")
    now = time.time()
    at = now if record.at is None else record.at
    signed = _signed(record, where)  # first: what it covers was written before the records are read
    entries = list(record.entries(where))
    history = History(entries, at)
    told = data(history, at, _origin(record, where, now), task=task)
    if task is not None and not told["nodes"]["rows"]:
        raise NotFoundError(f"no delegation belongs to the task `{task[:64]}`")
    told = reviewed(told, review.review(Forest(history, at)))
    held = shown(told, (entry for entry in entries if entry.revision <= told["revision"]))
    lines = {entry.revision: _bytes(entry) for entry in held}
    proof = None
    if signed is not None:
        proof = log(*signed, [leaf_hash(lines.get(one.revision) or _bytes(one)) for one in entries], lines.keys())
    write(out, [page(told, list(lines.values()), proof).encode()])
    nodes, events = told["nodes"]["rows"], told["events"]["rows"]
    if as_json:
        size = None if signed is None else Checkpoint.of(*signed).size
        counts = {"delegations": len(nodes), "events": len(events), "records": len(lines)}
        print_json({"file": str(out), "revision": told["revision"]} | counts | {"checkpoint": size})
        return
    click.echo(printable(f"{out}: {len(nodes)} delegations, {len(events)} calls and refusals, as of {moment(at)}"))
    if signed is None:
        click.echo("without a checkpoint: nothing in it is proven")
    else:
        click.echo(f"its key, to be compared with the one that you have from elsewhere: {printable(str(signed[1]))}")


def _bytes(entry: Entry) -> bytes:
    return ledger.encode(ledger.Record(entry.revision, entry.kind, entry.time, dict(entry.body)))


def _signed(record: Record, where: remote.Where) -> tuple[Note, NoteKey] | None:
    """Return the checkpoint and the key of its log; None where nobody signs, or no key of an export is named."""
    if record.export is not None:
        return record.checkpoint()
    with where.connect() as client:
        try:
            note, key = client.audit.checkpoint()
        except InvalidRequestError:
            return None
    return note, NoteKey.parse(key)


def _origin(record: Record, where: remote.Where, now: float) -> Origin:
    """Return where it was read, with the options of a command that reads the same."""
    options: Sequence[str]
    if record.export is not None:
        named, options = f"export {record.export.name}", ("--export", str(record.export))
    elif where.ledger is not None:
        named, options = f"ledger {where.ledger.name}", ("--ledger", str(where.ledger))
    else:
        named, options = f"service {where.server}", ("--server", str(where.server))
    return Origin(named, tuple(options), live=record.export is None, made=now)
