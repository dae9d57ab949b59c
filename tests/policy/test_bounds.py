"""A hostile text is refused before the engine sees it, with its place; one at the limits passes with a small stack."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from typing import Any

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import bounds, strangetoml
from chain.bounds import MAX_DECLARED, MAX_LINKS, MAX_LISTED, MAX_NESTING, MAX_PATH, MAX_SCHEMA
from chain.bundle import CATALOGUE, SCHEMA, engine, load
from chain.bundles import default
from chain.client import AsyncClient
from chain.errors import PolicyError
from chain.policyfacts import Stated, ask
from chain.request import Request
from chain.statement import statements
from chain.supposed import Hypothesis
from tests.policy.folder import ANYTHING, TYPES, activate, bundle, policy
from tests.service.conftest import PEP, secret
from tests.support import ALICE, World, root, seal

READ = Request(tool="mail.read", arguments={"folder": "in"}, audience=PEP)
ONE = 'principal.id == "x"'
DEEP: dict[str, Callable[[int], str]] = {
    "brackets": lambda n: "(" * n + "true" + ")" * n,
    "sets": lambda n: "[" * n + "1" + "]" * n + ".isEmpty()",
    "records": lambda n: "{a: " * n + "1" + "}" * n + " == {a: 1}",
    "negated": lambda n: "!(" * n + "true" + ")" * n,
    "minus": lambda n: "-(" * n + "1" + ")" * n + " == 1",
    "arguments": lambda n: "context.labels.contains(" * n + '"a"' + ")" * n,
}
LONG: dict[str, Callable[[int], str]] = {
    "or": lambda n: " || ".join([ONE] * (n + 1)),
    "and": lambda n: " && ".join([ONE] * (n + 1)),
    "sum": lambda n: "1" + " + 1" * n + " == 2",
    "difference": lambda n: "1" + " - 1" * n + " == 2",
    "product": lambda n: "1" + " * 1" * n + " == 2",
    "else if": lambda n: "if true then true else " * n + "true",
    "if if": lambda n: "if " * n + "true" + " then true else true" * n,
    "not not": lambda n: "!" * n + "true",
    "within": lambda n: "(" + " || ".join([ONE] * (n // 2 + 1)) + ")" + f" || {ONE}" * (n - n // 2),
    "behind": lambda n: f"{ONE} || " * (n - n // 2) + "(" + " || ".join([ONE] * (n // 2 + 1)) + ")",
}
PATHS: dict[str, Callable[[int], str]] = {
    "dots": lambda n: "context" + ".a" * n + " == 1",
    "indices": lambda n: "context" + '["a"]' * n + " == 1",
    "calls": lambda n: "context" + ".isEmpty()" * n,
    "has": lambda n: "context has a" + ".a" * n,
}


def rule(condition: str) -> str:
    return f'@id("deep")\npermit (principal, action == Chain::Action::"read", resource)\nwhen {{ {condition} }};'


@pytest.mark.parametrize("kind", DEEP)
def test_deep_nesting_is_refused_with_its_place(kind: str) -> None:
    for depth in (MAX_NESTING + 1, 700, 40_000):
        with pytest.raises(PolicyError, match=r"deep\.cedar:3: brackets more than 32 deep"):
            load(bundle(**{"deep.cedar": rule(DEEP[kind](depth))}))
    bounds.policies("deep.cedar", rule(DEEP[kind](MAX_NESTING - 1)))


@pytest.mark.parametrize("kind", LONG)
def test_a_long_path_of_operators_is_refused_and_told_what_to_do(kind: str) -> None:
    for length in (MAX_LINKS + 1, 40_000):
        with pytest.raises(
            PolicyError, match=r"deep\.cedar:3: more than 512 operators in one condition; .* `contains`"
        ):
            load(bundle(**{"deep.cedar": rule(LONG[kind](length))}))
    bounds.policies("deep.cedar", rule(LONG[kind](MAX_LINKS - 1)))


@pytest.mark.parametrize("kind", PATHS)
def test_a_long_path_of_accesses_is_refused(kind: str) -> None:
    with pytest.raises(PolicyError, match=r"deep\.cedar:3: more than 32 accesses in a row"):
        load(bundle(**{"deep.cedar": rule(PATHS[kind](MAX_PATH + 1))}))
    bounds.policies("deep.cedar", rule(PATHS[kind](MAX_PATH)))


def test_what_stands_in_strings_and_comments_counts_nothing() -> None:
    deep = "(" * 1_000
    for text in (f"// {deep}\n", f'@note("{deep}")', f'@note("\\"{deep}")'):
        assert "deep" in load(bundle(**{"a.cedar": text + rule("true")})).rules


@pytest.mark.parametrize("before", ["// x\r", '" \n', '"\\\n', '"" ', "' ", '// "\n', "/* \n", '@a("//")'])
def test_no_string_or_comment_of_ours_hides_what_the_engine_sees(before: str) -> None:
    """A carriage return ends a comment of the engine's, and a quotation mark may begin no string."""
    with pytest.raises(PolicyError, match="brackets more than 32 deep"):
        load(bundle(**{"deep.cedar": before + rule(DEEP["brackets"](1_000))}))


def test_many_conditions_and_long_sets_are_no_depth() -> None:
    many = ", ".join(f'"x{number}"' for number in range(5_000))
    signed = ", ".join(["-1"] * 2_000)
    groups = " && ".join([f"({LONG['or'](100)})"] * 100)
    for condition in (f"[{many}].contains(principal.id)", f"[{signed}].contains(1)", groups):
        assert "deep" in load(bundle(**{"deep.cedar": rule(condition)})).rules
    with pytest.raises(PolicyError, match="a policy of more than 65536 pieces"):
        load(bundle(**{"deep.cedar": rule("[" + "1," * 65_536 + "1].contains(2)")}))


@pytest.mark.parametrize("terms", [60, 100, 400, MAX_LINKS])
def test_a_rule_of_hundreds_of_alternatives_is_activated_and_asked(world: World, terms: int) -> None:
    among = " || ".join(f'context.audience == "pep{number}"' for number in range(terms - 1))
    text = f'@id("many") forbid (principal, action == Chain::Action::"read", resource) when {{{{ {among} || {{}} }}}};'
    tokens = [seal(root())]
    activate(world, ANYTHING + text.format("principal.kind == context.audience"))
    world.allowed(tokens, ALICE)
    activate(world, ANYTHING + text.format('context.audience != ""'))
    assert world.ask(tokens, ALICE).rules == ("many",)


def at_the_limits() -> str:
    """Every kind as deep as it may be, and all of them at once."""
    texts = [make(MAX_NESTING - 2) for name, make in DEEP.items() if name != "arguments"]
    texts += [make(MAX_LINKS - 1) for name, make in LONG.items() if name != "not not"]
    texts.append("(" * 30 + " || ".join([ONE] * 480) + ")" * 30)
    texts.append("(if true then " * 30 + LONG["or"](400) + " else false)" * 30)
    return "\n".join(
        f'@id("r{place}") forbid (principal, action == Chain::Action::"read", resource) when {{ {text} }};'
        for place, text in enumerate(texts)
    )


def test_what_is_within_the_limits_needs_little_of_a_stack() -> None:
    """An eighth of what a thread has: validated, asked and thrown away. Without limits this ends the process."""
    text = at_the_limits()
    bounds.policies("limits.cedar", text)
    done: list[Any] = []

    def run() -> None:
        rules = cedarpy.PolicySet.from_str(text)
        cedarpy.validate_policies(text, cedarpy.Schema.from_str(TYPES))
        for statement in statements(text):
            cedarpy.policies_to_json_str(statement.text)
        somebody = {"type": "Chain::Principal", "id": "p"}
        action = {"type": "Chain::Action", "id": "read"}
        known = cedarpy.Entities.from_json_str(
            '[{"uid": {"type": "Chain::Principal", "id": "p"}, "attrs": {"id": "q"}, "parents": []}]'
        )
        request = {"principal": somebody, "action": action, "resource": somebody, "context": '{"labels": []}'}
        done.append(cedarpy.is_authorized(request, rules, known).decision)

    before = threading.stack_size(1024 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(done) == 1


SCHEMAS: list[tuple[str, str]] = [
    ("entity A = {x: " + "Set<" * 9_000 + "Long" + ">" * 9_000 + "};", "brackets more than 32 deep"),
    ("entity A = {x: " + "{x: " * 5_000 + "Long" + "}" * 5_000 + "};", "brackets more than 32 deep"),
    ("entity A;\n" * (MAX_DECLARED + 1), "declares more than 64"),
    ("entity " + ", ".join(f"A{n}" for n in range(MAX_DECLARED + 1)) + ";", "declares more than 64"),
    ("action " + ", ".join(f'"a {n}"' for n in range(MAX_DECLARED + 1)) + ";", "declares more than 64"),
    ("entity A in [" + ", ".join(["B"] * (MAX_LISTED + 1)) + "]; entity B;", "more than 24 entries"),
    ("// " + "x" * MAX_SCHEMA, "more than 65536 bytes"),
    (
        "".join(f"type T{n} = {{a: T{n + 1}, b: T{n + 1}}};\n" for n in range(40)) + "type T40 = Long;",
        "more than 16384 names once they are written out",
    ),
    (
        "".join(f"type _{n} = {{_{n + 1}: _{n + 1}, b: A::_{n + 1}}};\n" for n in range(40)) + "type _40 = Long;",
        "more than 16384 names once they are written out",
    ),
    ("type T = Set<U>; type U = {a: T};", "types that consist of themselves: T, U"),
]


@pytest.mark.parametrize(("text", "words"), SCHEMAS)
def test_a_hostile_schema_is_refused(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(words)):
        load(bundle() | {SCHEMA: TYPES + text})


def test_a_schema_with_types_of_its_own_is_taken() -> None:
    more = 'namespace More { type A = {type: String, entity?: B}; type B = Set<Long>; entity C = {a: A, "]]": B}; }'
    assert load(bundle() | {SCHEMA: TYPES + more}).rules


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 5_000, "x = " + "{a = " * 5_000, "a" + ".a" * 100_000 + " = 1", '"a"' + '."b c"' * 99 + " = 1",
     'x = {y = """a"b""", a' + ".a" * 99 + ' = "z"}', "[a" + " . a" * 99 + "]",
     "x = {y = '''a''''', a" + ".a" * 99 + " = 'z'}"],
)  # fmt: skip
@pytest.mark.parametrize("file", [CATALOGUE, "cases/a.toml"])
def test_hostile_toml_is_refused(world: World, file: str, text: str) -> None:
    with pytest.raises(PolicyError, match=rf"{re.escape(file)}: brackets more than 32 deep"):
        activate(world, ANYTHING, **{file: text})


def test_toml_that_says_deep_things_is_taken() -> None:
    text = 'a = "' + "[" * 99 + "\"\nb = '" + "x.y" * 99 + "'\nc = 1 # " + "[" * 99 + '\nd = """' + '".{' * 99 + '"""\n'
    assert len(strangetoml.loads("x", text)) == 4


@given(text=st.text(alphabet='()[]{}<>!-+*|&.,;:="\\\n\r/ ifa1@', max_size=200))
def test_whatever_is_not_taken_is_a_policy_error(text: str) -> None:
    for files in (bundle(**{"a.cedar": text}), bundle() | {SCHEMA: text}, bundle() | {CATALOGUE: text}):
        try:
            load(files)
        except PolicyError:
            continue


def test_the_engines_panic_is_an_error_with_a_place() -> None:
    class Panic(BaseException):
        pass

    def panics() -> None:
        raise Panic("the engine")

    with pytest.raises(PolicyError, match="here: the engine"):
        engine("here", panics)
    with pytest.raises(KeyboardInterrupt):
        engine("here", lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_statements_are_told_apart_as_the_engine_does() -> None:
    """What is enforced under a rule's id is its own text: the pieces are as many as the engine's policies."""
    drawn = random.Random(1)
    pieces = ["// ;\n", "// ;\r", "\r\n", '@a(";")', '@b("\\";")', '@c("//;")', "permit (principal, action, resource);"]
    counted = 0
    for _ in range(400):
        text = "".join(drawn.choice(pieces) for _ in range(8)) + pieces[-1]
        try:
            parsed = cedarpy.PolicySet.from_str(text)
        except ValueError:
            continue
        counted += 1
        assert len(list(statements(text))) == len(parsed)
    assert counted > 50


def test_a_rule_that_the_default_bundle_adds_is_far_from_every_limit() -> None:
    assert len(load(default()).rules) == 17


def test_a_named_rule_is_the_one_that_answers() -> None:
    """The engine numbers the rules of each action anew; the ids that are told are the authors'."""
    rules = "".join(
        f'@id("z{9 - number}") forbid (principal, action == Chain::Action::"{action}", resource)'
        f' when {{ context.audience == "{number}" }};\n'
        for number, action in enumerate(["read", "act", "read", "write", "read"])
    )
    ruled = policy(bundle(ANYTHING + rules))
    answers = [
        ask(ruled, Stated.model_validate({"audience": str(number), "tool": {"class": "read"}})).rules
        for number in range(5)
    ]
    assert answers == [("z9",), ("call",), ("z7",), ("call",), ("z5",)]


async def test_through_the_service_it_is_refused_and_the_process_goes_on(serve: Callable[..., Any]) -> None:
    world = await serve()
    hostile = bundle(**{"deep.cedar": rule(DEEP["brackets"](1_000))})
    async with AsyncClient(world.server.address, secret("operator"), timeout=20) as operator:
        policies = operator.policies
        for ask_it in (policies.validate, policies.test, policies.activate):
            with pytest.raises(PolicyError, match=r"deep\.cedar:3: brackets more than 32 deep"):
                await ask_it(hostile)
        for before, after in ((bundle(), hostile), (hostile, bundle())):
            with pytest.raises(PolicyError, match=r"deep\.cedar:3: brackets more than 32 deep"):
                await policies.diff(before, after)
        with pytest.raises(PolicyError, match=r"deep\.cedar:3: brackets more than 32 deep"):
            await operator.simulate([await world.root()], READ, Hypothesis(), hostile)
        assert (await policies.validate(bundle())).cases == 0
