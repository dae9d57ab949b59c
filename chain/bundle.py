"""A policy bundle: what it must be before anybody can activate it.

The law of this file: a bundle is taken whole or not at all. Nothing reaches a parser that was not counted before
(chain/bounds.py). Every policy has an `@id` of its own, validates strictly against the bundle's schema, and the schema
fits every request that this program will ever build. Its digest is that of its files, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

import cedarpy
from pydantic import ValidationError

from chain import bounds, jcs, strangetoml, tree
from chain.base64url import b64encode
from chain.catalog import Catalogue
from chain.decision import Obligation
from chain.errors import PolicyError, clip
from chain.statement import Statement, faulty, statements

T = TypeVar("T")

SCHEMA = "schema.cedarschema"
CATALOGUE = "catalogue.toml"
CASES = "cases/"
SUFFIX = ".cedar"

MAX_FILES = 128
MAX_BYTES = 1024 * 1024
"""Of all files together."""

MAX_GATE = 64
"""People that one gate may ask for."""

ACTIONS = ("read", "write", "act", "delegate", "approve")
"""Every question that a policy is asked."""

_FILE = re.compile(r"(cases/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy of a bundle.

    Attributes:
        id: the author's.
        file: where it stands.
        effect: ``permit`` or ``forbid``.
        line: where in it.
        actions: the questions that it can be about.
        threshold: people that it asks for instead of refusing (`@approval`); 0 where it is no gate.
        obligation: what its permission demands, if anything.
        text: as written, with its semicolon: what is enforced.
        body: the same in Cedar's JSON form.
        note: `@description`, for people.
    """

    id: str
    file: str
    line: int
    effect: str
    actions: frozenset[str]
    threshold: int
    obligation: Obligation | None
    text: str
    body: dict[str, Any] = field(compare=False)
    note: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that validated.

    Attributes:
        files: name -> text, as given.
        digest: base64url SHA-256 of the JCS of `files`.
        rules: by id.
        schema: parsed.
        catalogue: of tools; None where the bundle brings none.
        cases: file name -> text of its test cases.
    """

    files: Mapping[str, str]
    digest: str
    rules: Mapping[str, Rule]
    schema: cedarpy.Schema
    catalogue: Catalogue | None
    cases: Mapping[str, str]


def load(files: Mapping[str, str]) -> Bundle:
    """Validate a bundle.

    Args:
        files: name -> text: ``*.cedar``, `SCHEMA`, perhaps `CATALOGUE` and ``cases/*``.

    Raises:
        PolicyError: with file, position and policy id of everything that is wrong, the first few.
    """
    _require_shape(files)
    bounds.schema(SCHEMA, files[SCHEMA])
    schema = engine(SCHEMA, lambda: cedarpy.Schema.from_str(files[SCHEMA]))
    heads = engine(SCHEMA, lambda: _Heads(schema))
    rules: dict[str, Rule] = {}
    for name in sorted(files):
        if name.endswith(SUFFIX):
            for rule in _rules(name, files[name], schema, heads):
                if (other := rules.get(rule.id)) is not None:
                    there = f"{other.file}:{other.line}"
                    raise PolicyError(f"{name}:{rule.line}: the id `{rule.id}` stands at {there} too")
                rules[rule.id] = rule
    if not rules:
        raise PolicyError("a bundle without a policy would refuse everything")
    return Bundle(
        files=dict(files),
        digest=b64encode(sha256(jcs.dumps(dict(files))).digest()),
        rules=rules,
        schema=schema,
        catalogue=_catalogue(files.get(CATALOGUE)),
        cases={name: text for name, text in files.items() if name.startswith(CASES)},
    )


def _require_shape(files: Mapping[str, str]) -> None:
    if SCHEMA not in files:
        raise PolicyError(f"a bundle needs a `{SCHEMA}`")
    for name in files:
        known = name in (SCHEMA, CATALOGUE) or name.startswith(CASES) or name.endswith(SUFFIX)
        if not known or not _FILE.fullmatch(name):
            raise PolicyError(f"`{clip(name, 80)}` is no file of a bundle")
    if len(files) > MAX_FILES or sum(map(_size, files.items())) > MAX_BYTES:
        raise PolicyError(f"a bundle has at most {MAX_FILES} files and {MAX_BYTES} bytes")


def _size(file: tuple[str, str]) -> int:
    try:
        return len(file[1].encode())
    except UnicodeEncodeError:
        raise PolicyError(f"{file[0]}: holds half a character") from None


def engine(where: str | Callable[[str], str], call: Callable[[], T]) -> T:
    """Call the policy engine, and tell whatever it says against it as an error with its place.

    Args:
        where: the place, or what finds it by the engine's words.
        call: does it.

    Raises:
        PolicyError: it does not take what it was given.
    """
    try:
        return call()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the engine is no Exception
        place = where if isinstance(where, str) else where(str(error))
        raise PolicyError(f"{place}: {clip(str(error))}") from None


def _rules(file: str, text: str, schema: cedarpy.Schema, heads: _Heads) -> Iterable[Rule]:
    """Yield the rules of a file. Each is parsed alone, so that what is enforced under its id is its own text."""
    bounds.policies(file, text)
    for statement in statements(text):
        rule = _rule(file, statement, _body(file, statement), heads)
        where = f"{file}:{rule.line}: `{rule.id}`"
        result = engine(where, lambda rule=rule: cedarpy.validate_policies(rule.text, schema))  # type: ignore[misc]
        if not result.validation_passed:
            raise PolicyError("; ".join(f"{where}: {_fault(error)}" for error in result.errors[:4]) or where)
        if not rule.actions:
            raise PolicyError(f"{where} is about no question that is ever asked")
        yield rule


def _body(file: str, statement: Statement) -> dict[str, Any]:
    """Return a statement in Cedar's JSON form."""
    text = engine(
        lambda error: f"{file}:{faulty(statement, error)}", lambda: cedarpy.policies_to_json_str(statement.text)
    )
    found: dict[str, Any] = tree.parse(text)
    if found["templates"]:
        raise PolicyError(f"{file}:{statement.line}: templates are not taken, since nobody would link them")
    if len(found["staticPolicies"]) != 1:
        raise PolicyError(f"{file}:{statement.line}: is not one policy")
    body: dict[str, Any] = found["staticPolicies"]["policy0"]
    return body


def _fault(error: Any) -> str:  # noqa: ANN401 - cedarpy's error, which is not typed
    return clip(re.sub(rf"for policy `{re.escape(str(error.policy_id))}`,? ?", "", str(error.error)), 200)


def _rule(file: str, statement: Statement, body: dict[str, Any], heads: _Heads) -> Rule:
    line, annotations = statement.line, body.get("annotations", {})
    name = annotations.get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise PolicyError(f'{file}:{line}: every policy needs an `@id("…")` of letters, digits and ._:/-')
    where, actions = f"{file}:{line}: `{name}`", engine(f"{file}:{line}", lambda: heads.about(body["action"]))
    return Rule(
        id=name,
        file=file,
        line=line,
        effect=body["effect"],
        actions=actions,
        threshold=_threshold(where, body["effect"], annotations, actions),
        obligation=_obligation(where, body["effect"], annotations, actions),
        text=statement.text,
        body=body,
        note=str(annotations.get("description") or ""),
    )


def _obligation(where: str, effect: str, annotations: Mapping[str, Any], actions: frozenset[str]) -> Obligation | None:
    """Return what a permit of a call demands of whoever lets it happen (`@obligation`, `@parameters`)."""
    if "obligation" not in annotations:
        if "parameters" in annotations:
            raise PolicyError(f"{where} has parameters of no obligation")
        return None
    name, text = annotations["obligation"] or "", annotations.get("parameters") or "{}"
    if effect != "permit" or not actions <= {"read", "write", "act"}:
        raise PolicyError(f"{where} states an obligation, and only a `permit` of calls can")
    try:
        parameters = jcs.loads(text)
    except ValueError as error:
        raise PolicyError(f"{where}: `@parameters`: {clip(str(error))}") from None
    if not _ID.fullmatch(name) or not isinstance(parameters, dict):
        raise PolicyError(f"{where}: an obligation has a name, and its `@parameters` are one JSON object")
    return Obligation(id=name, parameters=parameters)


def _threshold(where: str, effect: str, annotations: Mapping[str, Any], actions: frozenset[str]) -> int:
    if "approval" not in annotations:
        return 0
    text = annotations["approval"] or "1"
    if effect != "forbid":
        raise PolicyError(f"{where} asks for approval, and only a `forbid` can: it holds back until then")
    if "approve" in actions:
        raise PolicyError(f"{where} asks for approval of an approval; name the actions that it holds back")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_GATE):
        raise PolicyError(f"{where} asks for the approval of `{clip(text, 20)}`, not of 1 to {MAX_GATE} people")
    return int(text)


class _Heads:
    """Tells which questions a policy's head can be about, so that it is asked no others.

    A schema may put any action into any other, and only the engine knows who belongs to whom: so it is asked.
    """

    def __init__(self, schema: cedarpy.Schema) -> None:
        self._actions = cedarpy.Entities.from_json_str("[]", schema)
        self._known: dict[str, frozenset[str]] = {}

    def about(self, head: Mapping[str, Any]) -> frozenset[str]:
        """Return the actions that a head in Cedar's JSON form takes."""
        key = json.dumps(head)
        if key not in self._known:
            anything = {"op": "All"}
            rule = {"effect": "permit", "principal": anything, "action": head, "resource": anything, "conditions": []}
            text = json.dumps({"staticPolicies": {"head": rule}, "templates": {}, "templateLinks": []})
            rules = cedarpy.PolicySet.from_json_str(text)
            self._known[key] = frozenset(action for action in ACTIONS if self._takes(rules, action))
        return self._known[key]

    def _takes(self, rules: cedarpy.PolicySet, action: str) -> bool:
        somebody = {"type": "Chain::Principal", "id": ""}
        request = {"principal": somebody, "action": {"type": "Chain::Action", "id": action}, "resource": somebody}
        answer = cedarpy.is_authorized({**request, "context": "{}"}, rules, self._actions)
        return answer.decision is not cedarpy.Decision.Deny


def _catalogue(text: str | None) -> Catalogue | None:
    if text is None:
        return None
    try:
        return Catalogue.model_validate(strangetoml.loads(CATALOGUE, text))
    except ValidationError as error:
        raise PolicyError(f"{CATALOGUE}: {clip(str(error))}") from None
