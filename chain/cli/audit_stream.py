"""`chain audit stream`: the record in the forms of other people's tools.

The law of this file: one line a record, in order, as soon as it stands; a reader that goes on after a revision misses
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import click

from chain import cloudevent, ocsf
from chain.cli import remote
from chain.cli.output import json_option, print_json
from chain.cli.reading import Record, head, record, whole
from chain.errors import ChainError, ConfigurationError
from chain.given import Entry
from chain.otlp import Tracer

Form = Callable[[Entry], dict[str, Any] | None]


def _cloudevents(source: str) -> Form:
    return lambda entry: cloudevent.event(entry, source)


def _ocsf(source: str) -> Form:
    version = _version()
    return lambda entry: ocsf.event(entry, source, version)


def _otlp(source: str) -> Form:
    return Tracer(source, _version()).take


def _version() -> str:
    from chain.service.info import VERSION  # noqa: PLC0415 - this loads the service, which no other question needs

    return VERSION


FORMS: dict[str, Callable[[str], Form]] = {"cloudevents": _cloudevents, "ocsf": _ocsf, "otlp": _otlp}
"""Name -> what makes events for a source."""

REMEMBERING = frozenset({"otlp"})
"""Forms that need what came before: a span of a hop names a delegation from long ago."""


@click.command()
@click.option("--format", "form", type=click.Choice(list(FORMS)), required=True, help="What to write; see below.")
@click.option("--after", type=click.IntRange(0), default=0, metavar="REVISION", help="Only what comes after it.")
@click.option("--follow", is_flag=True, help="Go on as it happens, until ^C. Of a service only.")
@click.option("--batch", is_flag=True, help="One JSON array of all, as CloudEvents' batch format wants it.")
@click.option("--source", metavar="URI", help="Names the ledger in what is written; else its own name.")
@record
@remote.where
@json_option
def stream(
    form: str,
    after: int,
    source: str | None,
    record: Record,
    where: remote.Where,
    *,
    follow: bool,
    batch: bool,
    as_json: bool,  # noqa: ARG001 - what it prints is JSON either way; errors are told as JSON, too
) -> None:
    """Write the record for other tools: one JSON object a line.

    cloudevents: CloudEvents 1.0, one event a record. ocsf: OCSF 1.5.0 API Activity, with the profile security_control.
    otlp: OpenTelemetry spans, one for each hop and one for the call, as `otlpjson` receivers take them; other records
    have none.

    No token, no argument and no signature is written. To go on after an interruption, give --after the last revision
    that arrived: `id` of a CloudEvent, `metadata.uid` of an OCSF event, `chain.revision` of a call's span.
    """
    if batch and (follow or form != "cloudevents"):
        raise ConfigurationError("--batch is for cloudevents, and ends: it does not --follow")
    if follow and (record.export is not None or where.ledger is not None or record.at is not None):
        raise ConfigurationError("--follow needs a --server, and no --at")
    events = _events(record, where, form, source, after, follow=follow)
    if batch:
        print_json(list(events))
        return
    for event in events:
        print_json(event)


def _events(
    record: Record, where: remote.Where, form: str, source: str | None, after: int, *, follow: bool
) -> Iterator[dict[str, Any]]:
    """Yield what is written."""
    make = FORMS[form](_uri(_name(record, where) if source is None else source))
    begin = 0 if form in REMEMBERING else after
    entries = _followed(where, begin) if follow else record.entries(where, begin)
    for entry in _until(entries, record.at):
        made = make(entry)
        if made is not None and entry.revision > after:
            yield made


def _followed(where: remote.Where, after: int) -> Iterator[Entry]:
    with where.connect() as client, where.closing(client) as interrupted:
        client.revision()  # a server that was never there is no lost connection
        try:
            with client.watch(after) as news:
                yield from whole(news)
        except ChainError:
            if not interrupted():
                raise


def _until(entries: Iterable[Entry], at: float | None) -> Iterator[Entry]:
    for entry in entries:
        if at is not None and entry.seconds > at:
            return
        yield entry


def _name(record: Record, where: remote.Where) -> str:
    """Return the ledger's own name: the log's origin in an export, else the authority's audience."""
    if record.export is None:
        with where.connect() as client:
            return client.info().authority
    try:
        with record.export.open("rb") as file:
            return head(file).origin
    except OSError as error:
        raise ConfigurationError(f"export `{record.export}`: {error.strerror}") from None


def _uri(name: str) -> str:
    """Return a name as a URI reference."""
    return quote(name, safe=":/?#[]@!$&'()*+,;=%-._~")
