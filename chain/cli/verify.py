"""`chain verify`: the offline judge (`chain.judge`) on files and pipes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from chain.cli import source
from chain.errors import ConfigurationError, InvalidRequestError
from chain.judge import Answer, Judge, read

MAX_LINE = source.MAX_INPUT
"""Bytes of one line of `--jsonl`; a longer one is refused and skipped."""


@click.command()
@click.argument("file", metavar="FILE|-")
@click.option("--jsonl", is_flag=True, help="One question a line, one answer a line; a bad line does not stop.")
@click.option("--json", "_as_json", is_flag=True, help="Accepted for symmetry: the answer is JSON already.")
@click.pass_context
def verify(ctx: click.Context, file: str, *, jsonl: bool, _as_json: bool) -> None:
    """Judge a chain and a call offline, from one JSON object to one JSON answer.

    \b
    in   {"tokens":[root, .., leaf], "trust_anchors":[{"jwk":{..}, "iss":".."?, "certifies":true?}],
          "tool":"..", "args":{..}, "proof":".."?, "holder":"channel"?, "now":SECONDS?,
          "revoked":[jti, ..]?, "audience":".."?, "purpose":".."?, "intent":".."?,
          "classification":".."?, "catalogue":{..}?, "profile":"sound"|"aat-01"?}
    out  {"effect":"ALLOW"|"DENY", "reason":CODE, "hop":N|null,
          "findings":[{"reason", "hop", "detail"}, ..]}

    Exit 0: ALLOW. Exit 1: DENY, the question was understood and something in it stands against the call: a
    signature, a link, a limit, a proof, a key inside a token.

    Exit 2, and the answer is DENY with `request_invalid`: the question itself cannot be understood. It is not
    one object of strict JSON (a member twice, NaN, an integer beyond 2^53); a member is unknown, missing or of
    a wrong type; tool, args, purpose, intent, audience, classification or catalogue holds a value that no call
    can have; or a trust anchor is no usable key (private, weak, not canonical, of another type, or an `alg`,
    `use` or `key_ops` that forbids verifying), or certifies without an `iss`. One such anchor among good ones is
    enough. One that certifies signs no root: it certifies short-lived keys, and a root carries the certificate.

    Exit 2 without an answer: FILE cannot be read. With --jsonl the same answers, one a line, and exit 0 once
    every line has its own. Every answer is one JSON value on a line. Whether a proof was used before is not
    known between questions.
    """  # noqa: D301 - click reads \b as a mark, not Python
    judge = Judge(time.time)
    if jsonl:
        with _opened(file) as lines:
            for line in _lines(lines):
                _print(Answer.malformed(line) if isinstance(line, InvalidRequestError) else judge.answer(line))
        return
    try:
        decision = judge.decide(read(source.data(file)))
    except InvalidRequestError as error:
        _print(Answer.malformed(error))
        raise
    _print(Answer.of(decision))
    ctx.exit(0 if decision.allowed else 1)


def _opened(file: str) -> nullcontext[BinaryIO] | BinaryIO:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise ConfigurationError(f"`{file}`: {error.strerror}") from None


def _lines(file: BinaryIO) -> Iterator[bytes | InvalidRequestError]:
    """Yield lines as they come; one that is too long is skipped to its end and told as an error."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield InvalidRequestError(f"a line of more than {MAX_LINE} bytes")


def _print(answer: Answer) -> None:
    """Print at once: whoever writes questions into a pipe waits for each answer."""
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()
