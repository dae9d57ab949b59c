"""Does the suite notice? Changes one thing at a time in a copy of the tree, runs the fast tests, names what survives.

``python -m tests.mutation.mutate --files chain/check.py … --sample N --seed S``: a seeded sample of all mutants of
these files. The tree that it is started in is only read. A survivor is a missing test, or a change that changes
nothing: a person says which.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from queue import Queue

from tests.mutation.operators import Mutant, mutants

ROOT = Path(__file__).parents[2]

FILES = tuple(
    f"chain/{name}.py"
    for name in (
        "state",
        "check",
        "containment",
        "constraint",
        "grant",
        "delegation",
        "token",
        "proof",
        "key",
        "jws",
        "claims",
        "jcs",
        "batch",
        "change",
    )
)
"""What decides: a mistake here permits what was never granted, or loses what must be kept."""

TESTS = (
    "tests/vectors",
    "tests/attacks",
    "tests/core/test_edges.py",
    "tests/core/test_values.py",
    "tests/core/test_authority.py",
    "tests/scenarios",
    "tests/core",
)
"""Quickest to notice first; a folder runs what of it did not run yet."""

LIMIT = 180.0
"""Seconds for one mutant; one that loops is noticed too."""

_NOT_COPIED = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", ".hypothesis", ".venv", "dist")
_NOTHING_RUN = 5  # what pytest exits with; every other failure is the mutant's, since without it the tests pass


class Fate(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


class Copy:
    """A copy of the tree, in which one mutant at a time is tried."""

    def __init__(self, place: Path, tests: Sequence[str], limit: float) -> None:
        """Copy the tree to `place`, which must not exist."""
        shutil.copytree(ROOT, place, ignore=_NOT_COPIED)
        self._place = place
        self._tests = tests
        self._limit = limit

    def try_out(self, mutant: Mutant) -> Fate:
        """Run the tests on a mutant; afterwards the copy is as it was."""
        with self._changed(mutant):
            try:
                code, output = self.run()
            except subprocess.TimeoutExpired:
                return Fate.TIMED_OUT
        if code == 0:
            return Fate.SURVIVED
        if code == _NOTHING_RUN:
            raise RuntimeError(output)
        return Fate.KILLED

    @contextmanager
    def _changed(self, mutant: Mutant) -> Iterator[None]:
        path = self._place / mutant.file
        original = path.read_bytes()
        try:
            self._write(path, mutant.source.encode())
            yield
        finally:
            self._write(path, original)

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.write_bytes(data)
        # Bytecode is known by time (in seconds) and size, and mutants come faster and are of one size.
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def run(self) -> tuple[int, str]:
        """Run the tests and return how pytest ended, and what it said."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *self._tests]
        done = subprocess.run(
            command,
            check=False,
            cwd=self._place,
            env=os.environ | {"PYTHONPATH": str(self._place)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=self._limit,
        )
        return done.returncode, done.stdout.decode(errors="replace")


def sample(files: Sequence[str], size: int, seed: int) -> list[Mutant]:
    """Return a seeded sample of the mutants of files; of a size that nothing exceeds, all of them."""
    every = [mutant for file in files for mutant in mutants(file, (ROOT / file).read_text())]
    return random.Random(seed).sample(every, min(size, len(every)))


def trial(chosen: Sequence[Mutant], tests: Sequence[str], workers: int, limit: float) -> Iterator[tuple[Mutant, Fate]]:
    """Try mutants out, each in a copy of its own, and yield what became of each as it is known.

    Raises:
        RuntimeError: the tests fail without any change, or pytest itself failed.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: Queue[Copy] = Queue()
        for number in range(workers):
            copies.put(Copy(Path(folder) / str(number), tests, limit))
        untouched = copies.get()
        code, output = untouched.run()
        copies.put(untouched)
        if code != 0:
            raise RuntimeError(f"the tests fail without any change:\n{output}")

        def one(mutant: Mutant) -> tuple[Mutant, Fate]:
            copy = copies.get()
            try:
                return mutant, copy.try_out(mutant)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(one, chosen)


def main(args: Sequence[str] | None = None) -> dict[Fate, int]:
    """Try a sample out, print what became of each, and return the count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", nargs="+", default=FILES, help="modules to change")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="what must notice")
    parser.add_argument("--sample", type=int, default=20, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--workers", type=int, default=1, help="copies of the tree to work in")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one mutant")
    told = parser.parse_args(args)
    count = dict.fromkeys(Fate, 0)
    for mutant, fate in trial(sample(told.files, told.sample, told.seed), told.tests, told.workers, told.limit):
        count[fate] += 1
        print(f"{mutant.file}:{mutant.line}: {fate.value} ({mutant.what})", flush=True)  # noqa: T201 - the report
        if fate is not Fate.KILLED:
            print(mutant.diff)  # noqa: T201 - the report
    print(", ".join(f"{number} {fate.value}" for fate, number in count.items()))  # noqa: T201 - the report
    return count


if __name__ == "__main__":
    main()
