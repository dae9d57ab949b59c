"""Every format is read back by a reader that is not ours; and whoever names an agent writes no node of his own."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import networkx as nx
import pytest

from chain.errors import NotFoundError
from chain.graph import export, project, prov
from chain.graph.forest import Forest
from chain.history import History
from tests.book import Book

NOW = 2_000
HOSTILE = (
    '"]; evil [label="owned',
    "\\",
    '\\" -> evil; "',
    "a\nb -> evil",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "]]> <node id='evil'/>",
    "&#x3c;evil/&#x3e;",
    "`rm -rf`",
    'x"]:::evil\n  click n0 "javascript:alert(1)"',
    "%%{init: {}}%%",
    "end",
    "\u202egnp.exe",
    "\x00\x1b[31m\x7f",
    "\ud800",
    "\ufffe",
    "# #quot; ;",
    "|x|",
)


def drawn(book: Book, name: str | None = None, **more: Any) -> nx.DiGraph[str]:
    forest = Forest(History(book.entries), NOW)
    return project.project(forest, project.chosen(forest, name, **more)[0])


@pytest.fixture
def rich(book: Book) -> Book:
    book.write("revoked", 500, id="d1-0000", cause="done")
    said = {"field": "tools.bank.pay.amount", "asked": "up to 500", "granted": "up to 100"}
    book.write("refused", 501, method="Delegate", leaf="b1-0000", reason="constraint_widened", caller="bob", **said)
    asked = {"id": "ap", "tool": "bank.pay", "amount": "5 EUR", "root": "r1-0000", "binding": "b", "expires": 5_000}
    book.write("approval_requested", 502, holder="k-carol", **asked)
    call = {
        "tool": "bank.pay",
        "class": "act",
        "arguments": "",
        "caller": "pep",
        "holder": "k-carol",
        "leaf": "c1-0000",
    }
    book.write("decided", 503, id="x1", effect="APPROVAL_REQUIRED", reason="approval_required", awaits="ap", **call)
    book.write("decided", 504, id="x2", effect="ALLOW", reason="allowed", **call)
    return book


@pytest.fixture
def hostile() -> Book:
    book = Book()
    for number, name in enumerate(HOSTILE):
        book.give(
            f"d{number:02d}-{name}", None if not number else "d00-" + HOSTILE[0], name, grant={"tools": {name: {}}}
        )
    return book


def test_the_projection(rich: Book) -> None:
    graph = drawn(rich)
    assert set(graph.edges) == {
        ("r1-0000", "b1-0000"), ("b1-0000", "c1-0000"), ("r1-0000", "d1-0000"), ("r2-0000", "c2-0000"),
        ("b1-0000", "refused-12"), ("c1-0000", "approval-13"),
    }  # fmt: skip
    assert graph.nodes["d1-0000"]["status"] == "revoked"
    assert (graph.nodes["c1-0000"]["allowed"], graph.nodes["c1-0000"]["denied"]) == (1, 1)
    assert graph.nodes["refused-12"]["why"] == "tools.bank.pay.amount: asked up to 500, granted up to 100"
    assert graph.nodes["approval-13"]["why"] == "pending"
    assert graph.edges["b1-0000", "c1-0000"]["narrowed"].endswith("; without `mail.read`")


def test_what_is_drawn_can_be_chosen(rich: Book) -> None:
    assert set(drawn(rich, "r2-0000")) == {"r2-0000", "c2-0000"}
    assert "d1-0000" not in drawn(rich, live=True)
    forest = Forest(History(rich.entries), NOW)
    ones, more = project.chosen(forest, None, 2)
    assert ([one.id for one in ones], more) == (["r1-0000", "b1-0000"], 4)
    with pytest.raises(NotFoundError):
        project.chosen(forest, "nobody-at-all")


def test_graphml_is_read_back_whole(rich: Book, hostile: Book) -> None:
    for book in (rich, hostile):
        graph = drawn(book)
        again = nx.read_graphml(io.BytesIO(export.graphml(graph).encode()))
        assert dict(again.nodes(data=True)) == {project.clean(name): data for name, data in graph.nodes(data=True)}
        assert len(again.edges) == len(graph.edges)


def test_json_is_read_back_whole(rich: Book, hostile: Book) -> None:
    for book in (rich, hostile):
        graph = drawn(book)
        again = json.loads(export.json(graph))
        assert {node.pop("id"): node for node in again["nodes"]} == dict(graph.nodes(data=True))
        assert [(edge["source"], edge["target"]) for edge in again["edges"]] == list(graph.edges)


STRING = r'"(?:[^"\\\n]|\\["\\])*"'
DOT_LINE = re.compile(
    rf"  (?:{STRING} \[label={STRING}, color={STRING}(?:, style=\"dashed\")?\]"
    rf"|{STRING} -> {STRING} \[label={STRING}(?:, color={STRING}, style=\"dashed\")?\]);"
)
MERMAID_LINE = re.compile(
    r'  (?:n\d+\["(?:[A-Za-z0-9 .,:/_-]|#\d+;)*"\]:::[a-z]+'
    r'|n\d+ (?:-->|-\.->)(?:\|"(?:[A-Za-z0-9 .,:/_-]|#\d+;)*"\|)? n\d+'
    r"|classDef [a-z]+ stroke:#[0-9a-f]{6})"
)


def test_every_line_of_dot_is_one_statement(rich: Book, hostile: Book) -> None:
    for book in (rich, hostile):
        graph = drawn(book)
        first, style, *lines, last = export.dot(graph).splitlines()
        assert (first, last) == ("digraph delegations {", "}")
        assert style.startswith("  rankdir=TB")
        assert all(DOT_LINE.fullmatch(line) for line in lines), [line for line in lines if not DOT_LINE.fullmatch(line)]
        assert len(lines) == len(graph) + len(graph.edges)
    assert 'color="#b71c1c", style="dashed"' in export.dot(drawn(rich))


def test_every_line_of_mermaid_is_one_statement(rich: Book, hostile: Book) -> None:
    for book in (rich, hostile):
        graph = drawn(book)
        first, *lines = export.mermaid(graph).splitlines()
        assert first == "flowchart TB"
        assert all(MERMAID_LINE.fullmatch(line) for line in lines)
        assert len(lines) == len(graph) + len(graph.edges) + len(export.COLOURS)


def test_nothing_unprintable_leaves(hostile: Book) -> None:
    graph = drawn(hostile)
    forest = Forest(History(hostile.entries), NOW)
    texts = [write(graph) for write in export.WRITERS.values()]
    texts.append(prov.document(forest, forest.history.given.values()))
    assert len(texts) == 5
    for text in texts:
        assert all(char.isprintable() or char == "\n" for char in text)


REQUIRED = {
    "wasGeneratedBy": {"prov:entity", "prov:activity", "prov:time"},
    "wasAttributedTo": {"prov:entity", "prov:agent"},
    "wasAssociatedWith": {"prov:activity", "prov:agent"},
    "actedOnBehalfOf": {"prov:delegate", "prov:responsible", "prov:activity"},
    "wasDerivedFrom": {"prov:generatedEntity", "prov:usedEntity", "prov:activity"},
    "wasInvalidatedBy": {"prov:entity", "prov:activity", "prov:time"},
    "used": {"prov:activity", "prov:entity", "prov:time"},
}
KIND = {
    "entity": "entity", "generatedEntity": "entity", "usedEntity": "entity", "activity": "activity",
    "agent": "agent", "delegate": "agent", "responsible": "agent",
}  # fmt: skip


def test_prov_is_whole_and_its_names_are_qualified(rich: Book, hostile: Book) -> None:
    forest = Forest(History(rich.entries), NOW)
    said = json.loads(prov.document(forest, forest.history.given.values()))
    assert said.keys() == {"prefix", "entity", "activity", "agent", *REQUIRED}
    for relation, members in REQUIRED.items():
        assert said[relation]
        for one in said[relation].values():
            assert one.keys() == members
            for name, value in one.items():
                kind = KIND.get(name.removeprefix("prov:"))
                assert kind is None or value in said[kind], (relation, name)
    assert len(said["entity"]) == 6
    assert len(said["wasDerivedFrom"]) == 4
    names = {label["prov:label"] for label in said["agent"].values()}
    assert {"https://issuer.example", "spiffe://a.test/carol"} <= names
    forest = Forest(History(hostile.entries), NOW)
    said = json.loads(prov.document(forest, forest.history.given.values()))
    assert all(
        re.fullmatch(r"chain:[A-Za-z]+-[A-Za-z0-9_-]+", name) for kind in ("activity", "agent") for name in said[kind]
    )


def test_prov_of_a_part_names_what_it_came_from(rich: Book) -> None:
    forest = Forest(History(rich.entries), NOW)
    said = json.loads(prov.document(forest, [forest.history.given["c1-0000"]]))
    assert set(said["entity"]) == {"chain:delegation-c1-0000", "chain:delegation-b1-0000"}


def test_an_instant_beyond_the_calendar_is_its_last_day() -> None:
    book = Book()
    book.give("f1-0000", None, "k", exp=2**53)
    forest = Forest(History(book.entries), NOW)
    said = json.loads(prov.document(forest, forest.history.given.values()))
    assert said["entity"]["chain:delegation-f1-0000"]["chain:expires"].startswith("9999-12-31")
