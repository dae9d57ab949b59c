"""Questions of the graph and their answers, to the wire and back.

The law of this file: one table says which member of a row is which field, and it is read both ways, so that a row that
came over the wire is the row that the library gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import Message

from chain import jcs
from chain.auditor import Row
from chain.base64url import b64encode
from chain.errors import InvalidRequestError
from chain.inquiry import (
    FIRST,
    Answer,
    Asked,
    BlastRadius,
    Chokepoints,
    DiffDelegations,
    DiffTimes,
    ExportGraph,
    Format,
    LeastCut,
    Lineage,
    Page,
    Place,
    ReviewAccess,
    WhatCan,
    WhoCan,
    Work,
    milliseconds,
    require,
)
from chain.v1 import graph_pb2 as pb
from chain.wire.asking import arguments_from
from chain.wire.delegation import id_to

PAGE, MOST = 200, 1_000
"""Rows of one page, where nothing is asked, and at most."""

MAX_DRAWN = 100_000
"""Delegations of one drawing at most; its text has to fit into a message besides."""

_FORMATS: Mapping[Format, pb.GraphFormat.ValueType] = {
    "dot": pb.GRAPH_FORMAT_DOT,
    "graphml": pb.GRAPH_FORMAT_GRAPHML,
    "mermaid": pb.GRAPH_FORMAT_MERMAID,
    "json": pb.GRAPH_FORMAT_JSON,
    "prov": pb.GRAPH_FORMAT_PROV,
}

_DELEGATION = {
    "record": "revision", "agent": "agent", "key": "holder", "hop": "hop", "from": "giver", "task": "task",
    "for": "sub", "until": "expires_at_seconds", "id": "digest",
}  # fmt: skip
"""Member of a row -> field of `GraphDelegation`, in the order of `chain.graph.forest.Forest.row`."""

_RENAMED = {"revision": "record", "kept_revision": "kept_record"}
"""Field of a row's own message -> member, where they differ; `x_json` is the member `x` as JSON."""


class _Kind(NamedTuple):
    """How a question travels.

    Attributes:
        request, response: messages.
        row: message of one row.
        write: question -> fields of its message.
        read: message -> question; raises `InvalidRequestError`.
        untold: members of a delegation that such rows do not have.
    """

    request: type[Any]
    response: type[Any]
    row: type[Any]
    write: Callable[[Any], dict[str, Any]]
    read: Callable[[Any], Asked]
    untold: frozenset[str] = frozenset()


def _arguments_to(arguments: Mapping[str, Any] | None) -> bytes:
    return b"" if arguments is None else jcs.dumps(arguments)


def _arguments_from(data: bytes) -> dict[str, Any] | None:
    return arguments_from(data) if data else None


def _who_to(asked: WhoCan) -> dict[str, Any]:
    arguments = _arguments_to(asked.arguments)
    return {"tool": asked.tool or "", "target": asked.target or "", "arguments_json": arguments}


def _who_from(message: pb.WhoCanRequest) -> WhoCan:
    return WhoCan(message.tool or None, message.target or None, _arguments_from(message.arguments_json))


def _cut_to(asked: LeastCut) -> dict[str, Any]:
    stop, *keep = (pb.GraphWork(agent=work.agent, tool=work.tool) for work in (asked.stop, *asked.keep))
    return {"stop": stop, "keep": keep, "arguments_json": _arguments_to(asked.arguments)}


def _cut_from(message: pb.LeastCutRequest) -> LeastCut:
    stop, *keep = (Work(work.agent, work.tool) for work in (message.stop, *message.keep))
    return LeastCut(stop, tuple(keep), _arguments_from(message.arguments_json))


def _norms_to(asked: ReviewAccess) -> dict[str, Any]:
    return {"idle_seconds": asked.idle, "life_seconds": asked.life, "times": asked.times}


def _norms_from(message: pb.ReviewAccessRequest) -> ReviewAccess:
    usual = ReviewAccess()
    idle = message.idle_seconds if message.HasField("idle_seconds") else usual.idle
    life = message.life_seconds if message.HasField("life_seconds") else usual.life
    times = message.times if message.HasField("times") else usual.times
    return ReviewAccess(idle, life, times)


_KINDS: Mapping[type[Asked], _Kind] = {
    Lineage: _Kind(
        pb.LineageRequest,
        pb.LineageResponse,
        pb.LineageRow,
        lambda asked: {"name": asked.name},
        lambda message: Lineage(message.name),
    ),
    WhoCan: _Kind(pb.WhoCanRequest, pb.WhoCanResponse, pb.WhoCanRow, _who_to, _who_from),
    WhatCan: _Kind(
        pb.WhatCanRequest,
        pb.WhatCanResponse,
        pb.WhatCanRow,
        lambda asked: {"agent": asked.agent, "tool": asked.tool or ""},
        lambda message: WhatCan(message.agent, message.tool or None),
        frozenset({"agent", "key", "from"}),
    ),
    BlastRadius: _Kind(
        pb.BlastRadiusRequest,
        pb.BlastRadiusResponse,
        pb.BlastRadiusRow,
        lambda asked: {"name": asked.name},
        lambda message: BlastRadius(message.name),
    ),
    LeastCut: _Kind(pb.LeastCutRequest, pb.LeastCutResponse, pb.LeastCutRow, _cut_to, _cut_from),
    Chokepoints: _Kind(
        pb.ChokepointsRequest,
        pb.ChokepointsResponse,
        pb.ChokepointRow,
        lambda asked: {"tool": asked.tool or ""},
        lambda message: Chokepoints(message.tool or None),
    ),
    ReviewAccess: _Kind(pb.ReviewAccessRequest, pb.ReviewAccessResponse, pb.ReviewAccessRow, _norms_to, _norms_from),
    DiffDelegations: _Kind(
        pb.DiffDelegationsRequest,
        pb.DiffDelegationsResponse,
        pb.DiffDelegationsRow,
        lambda asked: {"first": asked.first, "second": asked.second},
        lambda message: DiffDelegations(message.first, message.second),
    ),
    DiffTimes: _Kind(
        pb.DiffTimesRequest,
        pb.DiffTimesResponse,
        pb.DiffTimesRow,
        lambda asked: {"since_ms": milliseconds(asked.since)},
        lambda message: DiffTimes(message.since_ms / 1000),
    ),
}
"""Every question whose answer has rows."""

METHODS = (*(kind.__name__ for kind in _KINDS), ExportGraph.__name__)
"""The RPCs of the graph."""


def asked_to(asked: Asked, page: Page = FIRST) -> Message:
    """Return the message of a question.

    Raises:
        InvalidRequestError: it is not well formed.
    """
    require(asked, page)
    at = 0 if page.at is None else milliseconds(page.at)
    if isinstance(asked, ExportGraph):
        form, limit = _FORMATS[asked.format], min(asked.limit, MAX_DRAWN)
        return pb.ExportGraphRequest(name=asked.name or "", format=form, live=asked.live, limit=limit, at_ms=at)
    kind = _KINDS[type(asked)]
    part = pb.GraphPage(at_ms=at, page_size=min(page.limit, MOST), page_token=page.token)
    made: Message = kind.request(page=part, **kind.write(asked))
    return made


def asked_from(message: Any) -> tuple[Asked, Page]:  # noqa: ANN401 - one of ten messages
    """Return the question that a message asks, and which part.

    Raises:
        InvalidRequestError: it is not well formed.
    """
    asked: Asked
    if isinstance(message, pb.ExportGraphRequest):
        asked, page = _drawing_from(message), Page(_instant(message.at_ms), 1)
    else:
        kind, part = next(kind for kind in _KINDS.values() if isinstance(message, kind.request)), message.page
        asked = kind.read(message)
        page = Page(_instant(part.at_ms), min(part.page_size or PAGE, MOST), part.page_token)
    require(asked, page)
    return asked, page


def _instant(at_ms: int) -> float | None:
    return at_ms / 1000 if at_ms else None


def _drawing_from(message: pb.ExportGraphRequest) -> ExportGraph:
    names = {number: name for name, number in _FORMATS.items()} | {pb.GRAPH_FORMAT_UNSPECIFIED: "dot"}
    if message.format not in names:
        raise InvalidRequestError("no such format")
    limit = min(message.limit or ExportGraph().limit, MAX_DRAWN)
    return ExportGraph(message.name or None, names[message.format], live=message.live, limit=limit)


def answer_to(asked: Asked, answer: Answer, room: int) -> Message:
    """Return the message of an answer.

    Args:
        asked: the question.
        answer: one page.
        room: bytes that a message may have; a page of long rows is made shorter, and what follows comes with the next.

    Raises:
        InvalidRequestError: a drawing is larger than that.
    """
    if isinstance(asked, ExportGraph):
        return _drawing_to(answer, room)
    kind = _KINDS[type(asked)]
    rows: list[Message] = []
    for row in answer.rows:
        rows.append(_row_to(kind, row))
        room -= rows[-1].ByteSize() + 8
        if room < 0 and len(rows) > 1:
            rows.pop()
            break
    told = answer.first(len(rows), asked) if len(rows) < len(answer.rows) else answer
    about = pb.GraphAnswer(
        revision=told.revision, at_ms=told.place.at_ms, total_rows=told.total, next_page_token=told.next
    )
    made: Message = kind.response(answer=about, rows=rows)
    return made


def _drawing_to(answer: Answer, room: int) -> pb.ExportGraphResponse:
    (row,) = answer.rows
    text = row["text"].encode()
    if len(text) > room:
        raise InvalidRequestError(f"the drawing has {len(text)} bytes and a message {room}; draw less with `limit`")
    at, counts = answer.place.at_ms, {"delegations": row["delegations"], "more": row["more"]}
    return pb.ExportGraphResponse(revision=answer.revision, at_ms=at, text=text, **counts)


def _row_to(kind: _Kind, row: Row) -> Message:
    fields: dict[str, Any] = {}
    for field in kind.row.DESCRIPTOR.fields:
        member = _member(field.name)
        if field.name == "delegation":
            about = {to: row[name] for name, to in _DELEGATION.items() if name in row}
            fields[field.name] = pb.GraphDelegation(**about | {"digest": id_to(row["id"])})
        elif member in row:
            value = row[member]
            fields[field.name] = msgspec.json.encode(value) if field.name.endswith("_json") else value
    made: Message = kind.row(**fields)
    return made


def _member(field: str) -> str:
    return _RENAMED.get(field, field.removesuffix("_json"))


def answer_from(asked: Asked, message: Any) -> Answer:  # noqa: ANN401 - one of ten messages
    """Return the answer that a message tells.

    Raises:
        ValueError: it is not well formed.
    """
    if isinstance(asked, ExportGraph):
        told = {"delegations": message.delegations, "more": message.more}
        row = {"format": asked.format, "text": message.text.decode(), **told}
        return Answer(message.revision, Place(0, message.at_ms), [row], 1)
    kind, about = _KINDS[type(asked)], message.answer
    rows = [_row_from(kind, row) for row in message.rows]
    place = Place(0, about.at_ms)
    return Answer(about.revision, place, rows, about.total_rows, about.next_page_token)


def _row_from(kind: _Kind, message: Any) -> Row:  # noqa: ANN401 - one of nine messages
    row: Row = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.name == "delegation":
            told = {name: getattr(value, to) for name, to in _DELEGATION.items() if name not in kind.untold}
            row |= told | {"id": b64encode(value.digest)}
        elif field.has_presence and not message.HasField(field.name):
            continue
        else:
            row[_member(field.name)] = _value(field, value)
    return row


def _value(field: Any, value: Any) -> Any:  # noqa: ANN401 - a field of any type
    if field.name.endswith("_json"):
        return msgspec.json.decode(value)
    if field.message_type is not None:
        return dict(sorted(value.items()))  # a map of protobuf has no order
    return value if isinstance(value, (str, int, float)) else list(value)
