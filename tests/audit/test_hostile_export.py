"""Export files that somebody made to harm or mislead whoever reads them.

The law of this file: every command that reads an export ends with a code of its own, in bounded memory; and nothing
that is not an export is taken for a record in which nothing happened.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chain import intact
from chain.cli import main
from chain.cli.audit_record import write
from chain.cli.reading import MAX_LINE, Record, lines
from chain.cli.remote import Where
from chain.errors import ChainError, ConfigurationError
from chain.note import NoteKey
from tests.audit.conftest import Run

NESTED = b"[" * 100_000 + b"]" * 100_000
MEMORY = 4 << 30
"""Bytes of address space for one command: what it imports maps one or two."""

READERS: dict[str, list[str]] = {
    "verify": ["audit", "verify", "{file}", "--key", "{key}"],
    "who": ["audit", "who", "--export", "{file}"],
    "who, verified": ["audit", "who", "--export", "{file}", "--key", "{key}"],
    "graph": ["graph", "export", "--format", "json", "--export", "{file}"],
    "report": ["report", "{out}", "--export", "{file}"],
    "report, verified": ["report", "{out}", "--export", "{file}", "--key", "{key}"],
    "stream": ["audit", "stream", "--format", "cloudevents", "--export", "{file}"],
    "controls": ["controls", "report", "--export", "{file}"],
}


@pytest.fixture(scope="module")
def exported(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], str]:
    """The lines of an export, without their newlines, and the key of its log."""
    out = tmp_path_factory.mktemp("exported") / "record"
    result = CliRunner().invoke(main, ["audit", "export", str(out), "--ledger", str(kept), "--json"])
    return out.read_bytes().split(b"\n")[:-1], json.loads(result.stdout)["key"]


def sealed(rows: list[bytes]) -> bytes:
    """The file of these lines, the last of them made anew: the hash of those before it, which anybody can make."""
    body = b"\n".join(rows[:-1]) + b"\n"
    return body + b'{"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def words(reader: str, file: Path, key: str) -> list[str]:
    return [word.format(file=file, key=key, out=file.with_suffix(".html")) for word in READERS[reader]]


def run_limited(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    command = [sys.executable, "-m", "chain", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, preexec_fn=limit)


@pytest.mark.parametrize("reader", READERS)
def test_a_line_without_an_end_costs_no_more_than_a_line_may(
    exported: tuple[list[bytes], str], tmp_path: Path, reader: str
) -> None:
    rows, key = exported
    file = tmp_path / "record"
    file.write_bytes(rows[0] + b"\n")
    os.truncate(file, 64 << 30)  # sparse: more than the memory that the command is given, 16 times
    ended = run_limited(words(reader, file, key))
    assert ended.returncode == (1 if reader == "verify" else 3), ended
    assert ended.stderr == "" or re.search(r"export .*\(store_unavailable\)\n$", ended.stderr), ended.stderr
    file.write_bytes(b"\n".join(rows) + b"\n")
    ended = run_limited(words(reader, file, key))
    assert ended.returncode == 0, ended.stderr


def test_a_line_is_cut_at_its_bound_and_the_last_one_may_be_as_long_as_all_before_it() -> None:
    first = b"a" * (MAX_LINE - 1) + b"\n"
    assert [len(line) for line in lines(io.BytesIO(first + first + first))] == [MAX_LINE] * 3
    assert [len(line) for line in lines(io.BytesIO(b"a" * 3 * MAX_LINE))] == [MAX_LINE]
    long = b"b" * (2 * MAX_LINE - 1) + b"\n"
    assert [len(line) for line in lines(io.BytesIO(first + first + long))] == [MAX_LINE, MAX_LINE, 2 * MAX_LINE]
    assert [len(line) for line in lines(io.BytesIO(first + long + first))] == [MAX_LINE, MAX_LINE]


BREAKING: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a record nested too deep": lambda rows: [
        rows[0],
        b'{"revision":1,"kind":"issued","time":1,"body":{"a":' + NESTED + b"}}",
        *rows[2:],
    ],
    "a first line nested too deep": lambda rows: [b'{"format":' + NESTED, *rows[1:]],
    "no first line": lambda rows: rows[1:],
    "no export": lambda _rows: [b"root:x:0:0:root:/root:/bin/bash"],
    "nothing": lambda _rows: [],
    "a record too long": lambda rows: [
        rows[0],
        b'{"revision":1,"kind":"issued","time":1,"body":{"a":"' + b"x" * MAX_LINE + b'"}}',
        *rows[2:],
    ],
    "cut off": lambda rows: rows[:20],
    "a record dropped": lambda rows: [*rows[:7], *rows[8:]],
    "a record doubled": lambda rows: [*rows[:7], rows[6], *rows[7:]],
    "records in another order": lambda rows: [*rows[:7], rows[8], rows[7], *rows[9:]],
    "fewer promised": lambda rows: [re.sub(rb'"records":\d+', b'"records":0', rows[0]), *rows[1:]],
    "more promised": lambda rows: [re.sub(rb'"records":\d+', b'"records":999999999999999999', rows[0]), *rows[1:]],
}


@pytest.mark.parametrize("how", BREAKING)
def test_what_is_no_whole_export_is_no_record_in_which_nothing_happened(
    exported: tuple[list[bytes], str], run: Run, tmp_path: Path, how: str
) -> None:
    rows, key = exported
    file = tmp_path / "record"
    file.write_bytes(sealed([*BREAKING[how](rows), b""]))
    for reader in READERS:
        ended = run(*words(reader, file, key))
        assert ended.exit_code == (1 if reader == "verify" else 3), (reader, ended.output)
        assert ended.stderr == "" or ended.stderr.endswith(" (store_unavailable)\n"), (reader, ended.stderr)
    file.write_bytes(sealed(rows))
    for reader in READERS:
        assert run(*words(reader, file, key)).exit_code == 0


OTHERWISE = (b" ", b'"origin":"other.example",', b'"origin":"chain.example",')


@pytest.mark.parametrize("spelled", OTHERWISE)
def test_the_first_line_has_one_spelling(exported: tuple[list[bytes], str], spelled: bytes) -> None:
    """A member that stands twice is one thing to this reader, and may be another to the next."""
    rows, key = exported
    again = rows[0].replace(b'"origin"', spelled + b'"origin"')
    verdict = intact.verify(io.BytesIO(sealed([again, *rows[1:]])), NoteKey.parse(key))
    assert [flaw.what for flaw in verdict.flaws] == ["the first line does not say what the checkpoint says"]
    assert intact.verify(io.BytesIO(sealed(rows)), NoteKey.parse(key)).intact


NOWHERE = Where(None, None, None, 5.0, None, None, None, None)

TOKENS = (
    b"1e999", b"-1", b"null", b"9" * 30, b'"\\ud800"', b"[]", b"{}", b"true", b"1.5", b"-0", b"NaN", b'"\\u0000"',
    b"[" * 2000 + b"]" * 2000,
)  # fmt: skip
CHARACTERS = b'0123456789"{}[],:\\+-eE. \x00\xff\xc3\r\n'


def changed(rows: list[bytes], source: random.Random) -> bytes:
    """One change, most often to a line that is no record; of most, the hash of all lines is made anew."""
    made = list(rows)
    last = len(made) - 1
    at = source.choice([0, 0, last, last - 1, last - 2, last - 3, source.randrange(len(made))])
    if source.random() < 0.3:
        found = source.choice(list(re.finditer(rb'"[^"]*"|\d+', made[at])))
        made[at] = made[at][: found.start()] + source.choice(TOKENS) + made[at][found.end() :]
    elif source.random() < 0.1:
        made[source.randrange(len(made))] = made[at]
    else:
        line = bytearray(made[at])
        place, byte = source.randrange(len(line)), source.choice(CHARACTERS)
        line[place : place + source.choice((0, 1))] = source.choice((b"", bytes([byte])))
        made[at] = bytes(line)
    return sealed(made) if source.random() < 0.7 else b"\n".join(made) + b"\n"


def test_two_thousand_changes_are_judged_and_read_without_a_fault(
    exported: tuple[list[bytes], str], tmp_path: Path
) -> None:
    rows, text = exported
    key, source, file = NoteKey.parse(text), random.Random(6962), tmp_path / "record"
    read = refused = 0
    for number in range(2_000):
        made = changed(rows, source)
        verdict = intact.verify(lines(io.BytesIO(made)), key)
        assert verdict.intact is (made == sealed(rows)), (number, verdict.flaws)
        file.write_bytes(made)
        try:
            with click.Context(click.Command("read")):
                for _ in Record(file, None, None).entries(NOWHERE):
                    read += 1
        except ChainError:
            refused += 1
    assert read > 10_000
    assert refused > 200


def test_a_pipe_is_read_once_and_so_cannot_be_judged_first(exported: tuple[list[bytes], str], run: Run) -> None:
    rows, key = exported

    def piped(*options: str) -> tuple[int, str]:
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(sealed(rows))  # 36 KB: a pipe takes 64
        try:
            ended = run("audit", "who", "--export", f"/dev/fd/{reading}", *options)
        finally:
            os.close(reading)
        return ended.exit_code, ended.stderr

    assert len(sealed(rows)) < 1 << 16
    assert piped()[0] == 0
    code, said = piped("--key", key)
    assert (code, said.endswith("(request_invalid)\n")) == (2, True), said


def test_an_export_goes_over_nothing_that_is_there(run: Run, kept: Path, tmp_path: Path) -> None:
    folder, link, target = tmp_path / "folder", tmp_path / "link", tmp_path / "target"
    folder.mkdir()
    link.symlink_to(target)
    at = ("--ledger", kept)
    for out in (folder, link, Path("/dev/full"), tmp_path / ("x" * 300), tmp_path / "nowhere" / "record"):
        ended = run("audit", "export", out, *at)
        assert ended.exit_code == 2, out
        assert ended.stderr.endswith("(request_invalid)\n")
    assert sorted(tmp_path.iterdir()) == [folder, link]
    assert not target.exists()
    assert run("audit", "export", target, *at).exit_code == 0
    assert target.stat().st_mode & 0o777 == 0o600


def test_where_the_disk_is_full_the_older_file_stays_and_nothing_beside_it(tmp_path: Path) -> None:
    def parts(*, full: bool) -> list[bytes]:
        if full:
            raise OSError(28, "No space left on device")
        return [b"new"]

    out = tmp_path / "checkpoint"
    out.write_bytes(b"old")
    with pytest.raises(ConfigurationError, match="No space left"):
        write(out, (part for full in (False, True) for part in parts(full=full)))
    assert (list(tmp_path.iterdir()), out.read_bytes()) == ([out], b"old")
    write(out, parts(full=False))
    assert (list(tmp_path.iterdir()), out.read_bytes()) == ([out], b"new")
