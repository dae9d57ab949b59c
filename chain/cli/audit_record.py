"""`chain audit export | verify | intact | checkpoint | prove | cosign`: whether the record is what was written.

The law of this file: a verdict comes from bytes and from a key that the reader brings along, never from the authority
that is judged. A file is written whole or not at all.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import msgspec

from chain import export as exports
from chain import intact as intactness
from chain.checkpoint import Checkpoint, InclusionProof
from chain.cli import remote, source
from chain.cli.options import IDS
from chain.cli.output import json_option, moment, print_json, printable
from chain.cli.reading import lines
from chain.errors import ConfigurationError, NotFoundError
from chain.intact import Flaw, Verdict
from chain.ledger import Record, encode
from chain.note import Note, NoteKey

_REVISION = re.compile(r"[0-9]{1,15}")

key_option = click.option(
    "--key", required=True, metavar="VKEY", help="The log's verifier key, from somewhere else than the log."
)
witness_option = click.option(
    "--witness",
    "witnesses",
    multiple=True,
    metavar="VKEY",
    help="A witness that must have cosigned the last checkpoint.",
)
former_option = click.option(
    "--former",
    "formers",
    multiple=True,
    metavar="VKEY",
    help="A key that the log had before: it may have signed the --checkpoint that you kept.",
)
since_option = click.option(
    "--checkpoint",
    "kept",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A checkpoint that you kept: the record must continue it.",
)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@remote.where
@json_option
def export(out: Path, where: remote.Where, *, as_json: bool) -> None:
    """Write every record and checkpoint to one file, which `chain audit verify` judges with a key alone."""
    if os.path.lexists(out):
        raise ConfigurationError(f"`{out}` is there already")
    with where.connect() as client:
        note, key = client.audit.checkpoint()
        write(out, _lines(client, note, key))
    found = Checkpoint.of(note, NoteKey.parse(key))
    if as_json:
        print_json({"file": str(out), "records": found.size, "key": key})
        return
    click.echo(printable(f"{found.size} records to {out}, signed as {found.origin}"))
    click.echo(f"its key, to be compared with the one that you have from elsewhere: {printable(key)}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@key_option
@witness_option
@since_option
@former_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    file: Path,
    key: str,
    witnesses: tuple[str, ...],
    kept: tuple[Path, ...],
    formers: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Say whether an exported record is what was signed. Asks nobody: the file, and keys that you bring.

    Exit 1 where it is not; each record that was changed, dropped or moved is named. What was cut off at the end
    together with its checkpoints is seen by whoever kept a later --checkpoint.
    """
    try:
        with file.open("rb") as opened:
            verdict = _judged(lines(opened), key, witnesses, kept, formers)
    except OSError as error:
        raise ConfigurationError(f"`{file}`: {error.strerror}") from None
    _tell(ctx, verdict, as_json=as_json)


@click.command()
@key_option
@witness_option
@since_option
@former_option
@remote.where
@json_option
@click.pass_context
def intact(
    ctx: click.Context,
    key: str,
    witnesses: tuple[str, ...],
    kept: tuple[Path, ...],
    formers: tuple[str, ...],
    where: remote.Where,
    *,
    as_json: bool,
) -> None:
    """Say whether the record is what was signed: read all of it from an authority, and judge it here."""
    with where.connect() as client:
        note, _ = client.audit.checkpoint()
        verdict = _judged(_lines(client, note, key), key, witnesses, kept, formers)
    _tell(ctx, verdict, as_json=as_json)


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it to this file, over an older one."
)
@remote.where
@json_option
def checkpoint(out: Path | None, where: remote.Where, *, as_json: bool) -> None:
    """Print the checkpoint of all that happened up to now; keep it, and nobody can change what was before it unseen."""
    with where.connect() as client:
        note, key = client.audit.checkpoint()
    if out is not None:
        write(out, [bytes(note)])
    if as_json:
        found = Checkpoint.of(note, NoteKey.parse(key))
        print_json({"size": found.size, "key": key, "note": bytes(note).decode()})
    else:
        click.echo(bytes(note).decode(), nl=False)


@click.command(context_settings=IDS)
@click.argument("name", metavar="REVISION|DECISION")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="FILE.tlog-proof, FILE.json."
)
@remote.where
@json_option
def prove(name: str, out: Path, where: remote.Where, *, as_json: bool) -> None:
    """Write one record and the proof that it stands in the log, for somebody who gets nothing else of it."""
    record, proof = _beside(out)
    with where.connect() as client:
        revision = int(name) if _REVISION.fullmatch(name) else _decided(client, name)
        proven = client.audit.prove(revision)
    write(record, [proven.record])
    write(proof, [bytes(proven.proof)])
    if as_json:
        print_json({"record": str(record), "proof": str(proof)})
    else:
        click.echo(printable(f"record {revision}: {record}, {proof}"))


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@key_option
@witness_option
@json_option
def proven(file: Path, key: str, witnesses: tuple[str, ...], *, as_json: bool) -> None:
    """Say whether a record stands in a log: FILE.json and FILE.tlog-proof, as `prove` wrote them. Asks nobody."""
    record, proof = (source.data(str(path)) for path in _beside(file))
    found = InclusionProof.parse(proof)
    head = found.require(record, NoteKey.parse(key), list(map(NoteKey.parse, witnesses)))
    told = msgspec.json.decode(record, type=Record)
    if as_json:
        print_json({"proven": True, "revision": found.index + 1, "size": head.size, "origin": head.origin})
        return
    click.echo(
        printable(f"record {found.index + 1} of {head.size} of {head.origin}: {told.kind}, {moment(told.time / 1000)}")
    )


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@remote.where
@json_option
def cosign(file: Path, where: remote.Where, *, as_json: bool) -> None:
    """Hand in a checkpoint that a witness cosigned; print it with every cosignature that it has."""
    data = source.data(str(file))
    with where.connect() as client:
        note = client.audit.cosign(data)
    if as_json:
        print_json({"note": bytes(note).decode()})
    else:
        click.echo(bytes(note).decode(), nl=False)


def _decided(client: remote.Authority, decision: str) -> int:
    """Return the record of a decision.

    Raises:
        NotFoundError: there is none.
    """
    with client.watch(0, ["decided"], until_now=True) as news:
        for told in news:
            if told.members["id"] == decision:
                return told.revision
    raise NotFoundError(f"no decision `{decision[:64]}`")


def _beside(out: Path) -> tuple[Path, Path]:
    stem = out.with_suffix("") if out.suffix in {".json", ".tlog-proof"} else out
    return Path(f"{stem}.json"), Path(f"{stem}.tlog-proof")


def _judged(
    lines: Iterable[bytes], key: str, witnesses: Iterable[str], kept: Iterable[Path], formers: Iterable[str]
) -> Verdict:
    known = [Note.parse(source.data(str(path))) for path in kept]
    seen, former = (list(map(NoteKey.parse, keys)) for keys in (witnesses, formers))
    return intactness.verify(lines, NoteKey.parse(key), seen, known, former)


def _lines(client: remote.Authority, note: Note, key: str) -> Iterator[bytes]:
    """Yield the lines of an export of what an authority tells, up to a checkpoint."""
    log = NoteKey.parse(key)
    size = Checkpoint.of(note, log).size
    notes = [one for one in client.audit.checkpoints() if Checkpoint.of(one, log).size <= size]
    return exports.write(log.name, _records(client, size), size, notes)


def _records(client: remote.Authority, size: int) -> Iterator[bytes]:
    """Yield the records in their exact bytes."""
    with client.watch(0, until_now=True) as news:
        for told in news:
            if told.revision > size:
                return
            yield encode(Record(told.revision, told.kind, told.time, told.members))


def write(out: Path, parts: Iterable[bytes]) -> None:
    """Write a file whole or not at all, over an older one; nobody else may read it.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(handle)
            Path(name).replace(out)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"`{out}`: {error.strerror}") from None


def _tell(ctx: click.Context, verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        flaws = [{"what": flaw.what, "first": flaw.first, "last": flaw.last} for flaw in verdict.flaws]
        sizes = [one.size for one in verdict.checkpoints]
        told = {"records": verdict.records, "checkpoints": sizes, "flaws": flaws}
        accepted = [{"record": one.revision} | one.body for one in verdict.accepted]
        print_json({"intact": verdict.intact, **told, "accepted": accepted})
    elif verdict.intact:
        last = verdict.checkpoints[-1]
        click.echo(
            printable(f"intact: {verdict.records} records of {last.origin}, {len(verdict.checkpoints)} checkpoints")
        )
    else:
        click.echo("NOT intact")
        for flaw in verdict.flaws:
            click.echo(printable(f"  {_where(flaw)}{flaw.what}"))
    if not as_json:
        for one in verdict.accepted:
            said = f"  record {one.revision}: somebody went on beside an earlier checkpoint: {one.body.get('why')}"
            click.echo(printable(said))
    if not verdict.intact:
        ctx.exit(1)


def _where(flaw: Flaw) -> str:
    if not flaw.first:
        return ""
    return f"record {flaw.first}: " if flaw.first == flaw.last else f"records {flaw.first} to {flaw.last}: "
