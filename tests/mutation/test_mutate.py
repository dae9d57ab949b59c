"""The mutator itself, and a taste of what it finds; the rest is run by hand (`tests/mutation/mutate.py`)."""

from __future__ import annotations

import ast

import pytest

from tests.mutation import mutate
from tests.mutation.mutate import FILES, ROOT, Fate, sample, trial
from tests.mutation.operators import Mutant, mutants


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b", "a > b"}),
        ("a == b", {"a != b"}),
        ("a is b", {"a is not b"}),
        ("a not in b", {"a in b"}),
        ("a and b", {"a or b"}),
        ("not a", {"a"}),
        ("a if b else c", {"a if not b else c"}),
        ("a | b", {"a & b"}),
        ("a - b", {"a + b"}),
        ("7", {"8", "6"}),
        ("True", {"False"}),
        ("all(a)", {"any(a)"}),
        ("a.issubset(b)", {"a.issuperset(b)"}),
        ("[a for a in b if c]", {"[a for a in b if not c]"}),
        ("f'{7}'", set()),
    ],
)
def test_an_expression_is_changed_in_each_way(source: str, expected: set[str]) -> None:
    prefix = "value = "
    assert {mutant.source for mutant in mutants("m.py", prefix + source)} == {prefix + text for text in expected}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if a:\n    raise b", {"if a:\n    pass", "if not a:\n    raise b"}),
        ("def f():\n    return 1", {"def f():\n    return 2", "def f():\n    return 0"}),
        ("def f():\n    return a == b", {"def f():\n    return a != b", "def f():\n    return not a == b"}),
        ("for a in b:\n    continue", {"for a in b:\n    pass"}),
        ("def f(a: int=1): 'Text.'", {f'def f(a: int={n}):\n    """Text."""' for n in (0, 2)}),
        ("def f(a: A | B): ...", set()),
        ("A: TypeAlias = B | C", set()),
        ("class A(frozen=True, strict=True): ...", {"class A(frozen=True, strict=False):\n    ..."}),
        ("@cache(maxsize=1)\ndef f(): ...", set()),
    ],
)
def test_a_statement_is_changed_in_each_way(source: str, expected: set[str]) -> None:
    assert {mutant.source for mutant in mutants("m.py", source)} == expected


@pytest.mark.parametrize("file", FILES)
def test_every_mutant_is_another_module_that_parses(file: str) -> None:
    source = (ROOT / file).read_text()
    made = list(mutants(file, source))
    assert len(made) > 5
    for mutant in made:
        ast.parse(mutant.source)
        assert mutant.diff
        assert 1 <= mutant.line <= source.count("\n")


def test_a_seed_is_a_sample() -> None:
    files = ("chain/jws.py", "chain/state.py")  # small ones
    assert sample(files, 10, 1) == sample(files, 10, 1)
    assert sample(files, 10, 1) != sample(files, 10, 2)


AGAIN_AND_AGAIN = "runs the suite once for each mutant; only when asked for, with -m slow"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("'slow' not in config.option.markexpr", reason=AGAIN_AND_AGAIN)
def test_a_tiny_sample_dies(capsys: pytest.CaptureFixture[str]) -> None:
    count = mutate.main(["--files", "chain/check.py", "--sample", "4", "--seed", "1"])
    assert count[Fate.KILLED] == 4, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("'slow' not in config.option.markexpr", reason=AGAIN_AND_AGAIN)
def test_what_changes_nothing_survives() -> None:
    """And the copy is whole again between two mutants."""
    same = Mutant("chain/check.py", 1, "same", (ROOT / "chain/check.py").read_text(), "")
    broken = same._replace(source="raise SystemError")
    tests = ["tests/core/test_values.py", "tests/attacks/test_state.py"]  # the latter's conftest imports it, too
    fates = [fate for _, fate in trial([same, broken, same], tests, workers=1, limit=60.0)]
    assert fates == [Fate.SURVIVED, Fate.KILLED, Fate.SURVIVED]
