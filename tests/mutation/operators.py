"""What a mutant is: one small change to one place of a module, that a good test must notice.

Every change replaces one node of the syntax tree by another, so that it can be made, printed and undone. Left alone
is what no behaviour hangs on: annotations (but for the bounds in them), decorators, messages, docstrings, `__repr__`.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from typing import NamedTuple

FLIPPED: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitAnd: (ast.BitOr,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
}
"""Operators; over sets `<=`, `|`, `&` and `-` are these too."""

RENAMED = {
    "all": "any",
    "any": "all",
    "max": "min",
    "min": "max",
    "issubset": "issuperset",
    "issuperset": "issubset",
    "union": "intersection",
    "intersection": "union",
}
"""Calls that come in pairs."""

STATEMENTS = (ast.Raise, ast.Expr, ast.AugAssign, ast.Continue, ast.Return)
"""What may be left out; a return only where something follows or stands around it."""


class Mutant(NamedTuple):
    """A module with one change.

    Attributes:
        file: as it was named.
        line: of the change.
        what: the kind of change.
        source: the whole mutated module, without its comments.
        diff: the lines that differ.
    """

    file: str
    line: int
    what: str
    source: str
    diff: str


class _Place(NamedTuple):
    """A node, where it hangs, and what may stand there instead."""

    parent: ast.AST
    field: str
    at: int | None
    line: int
    what: str
    instead: ast.AST

    def swap(self, node: ast.AST) -> ast.AST:
        """Put a node here and return what stood here."""
        if self.at is None:
            before: ast.AST = getattr(self.parent, self.field)
            setattr(self.parent, self.field, node)
        else:
            before = getattr(self.parent, self.field)[self.at]
            getattr(self.parent, self.field)[self.at] = node
        return before


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its lines; always the same.

    Args:
        file: its name, for the report.
        source: its text.
    """
    statements = ast.parse(source).body
    texts = [ast.unparse(statement) for statement in statements]
    for number, statement in enumerate(statements):
        module = ast.Module([statement], [])
        original = ast.unparse(module)
        for place in list(_places(module)):
            before = place.swap(place.instead)
            mutated = ast.unparse(ast.fix_missing_locations(module))
            place.swap(before)
            if mutated != original:
                whole = "\n".join((*texts[:number], mutated, *texts[number + 1 :]))
                yield Mutant(file, place.line, place.what, whole, _diff(original, mutated))


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def _places(node: ast.AST, line: int = 1, *, outer: bool = True, typing: bool = False) -> Iterator[_Place]:
    """Yield the places below a node.

    Args:
        node: whose children are looked at.
        line: of the node, for children that know none.
        outer: whether a return may not be left out here: it is what the function comes to.
        typing: whether this is an annotation, in which only calls (bounds) count.
    """
    line = getattr(node, "lineno", line)
    for field, value in ast.iter_fields(node):
        if _untouched(node, field):
            continue
        types = typing or field in {"annotation", "returns"} or _is_alias(node)
        inner = outer and not isinstance(node, ast.If | ast.For | ast.ExceptHandler | ast.While)
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                where = getattr(child, "lineno", line)
                if not types:
                    for what, instead in _instead(node, field, child, outer=inner):
                        yield _Place(node, field, index, where, what, instead)
                yield from _places(child, where, outer=inner, typing=types and not isinstance(child, ast.Call))


def _untouched(node: ast.AST, field: str) -> bool:
    return (
        field == "decorator_list"
        or (isinstance(node, ast.FunctionDef) and node.name == "__repr__")
        or (isinstance(node, ast.keyword) and node.arg in {"frozen", "gc", "slots", "kw_only", "omit_defaults"})
    )


def _is_alias(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.annotation, ast.Name) and "Alias" in node.annotation.id


def _instead(parent: ast.AST, field: str, node: ast.AST, *, outer: bool) -> Iterator[tuple[str, ast.AST]]:
    for other in FLIPPED.get(type(node), ()):
        yield "operator", other()
    if isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not dropped", node.operand
    elif isinstance(node, ast.Name) and field == "func" and node.id in RENAMED:
        yield "call", ast.Name(RENAMED[node.id], ast.Load())
    elif isinstance(node, ast.Attribute) and field == "func" and node.attr in RENAMED:
        yield "call", ast.Attribute(node.value, RENAMED[node.attr], ast.Load())
    elif isinstance(node, STATEMENTS) and not _is_text(node) and not (outer and isinstance(node, ast.Return)):
        yield "left out", ast.Pass()
    if isinstance(node, ast.expr) and _is_condition(parent, field) and not isinstance(node, ast.UnaryOp | ast.Compare):
        yield "negated", ast.UnaryOp(ast.Not(), node)
    if isinstance(parent, ast.Return) and isinstance(node, ast.Compare | ast.BoolOp | ast.Call) and field == "value":
        yield "negated", ast.UnaryOp(ast.Not(), node)


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield "constant", ast.Constant(node.value + 1)
        yield "constant", ast.Constant(node.value - 1)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_condition(parent: ast.AST, field: str) -> bool:
    return (field == "test" and isinstance(parent, ast.If | ast.While | ast.IfExp)) or (
        field == "ifs" and isinstance(parent, ast.comprehension)
    )
