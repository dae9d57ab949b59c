"""Draws ``reason.proto`` from ``chain/reason.py`` and compiles ``protos/`` into ``chain/v1``.

    python protos/generate.py            writes both
    python protos/generate.py --check    writes nothing; exit 1 and a list when what is committed differs

The compiler runs in a temporary environment of its own: the version whose output imports on every protobuf that we
support needs protobuf < 7, and grpcio's health and reflection packages need a newer one, so the two never meet.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = Path("chain/v1")
REASON_PROTO = PACKAGE / "reason.proto"

# Output of grpcio-tools 1.76.0 imports on protobuf 6.31.1 up to 7.x; that of 1.85 fails on 6.x. All pins together, so
# that the same bytes come out next year.
COMPILER = (
    "grpcio-tools==1.76.0",
    "grpcio==1.76.0",
    "protobuf==6.33.6",
    "mypy-protobuf==5.1.0",
    "types-protobuf==7.35.1.20260906",
)

INIT = '''"""Generated from protos/chain/v1 by protos/generate.py. Do not edit."""
'''

REASON_HEAD = """\
// Generated from chain/reason.py by protos/generate.py. Do not edit.
syntax = "proto3";

package chain.v1;

// Every way an answer can turn out: one vocabulary for library, wire, ledger, metrics and pages. The code is the name
// in lower case without its prefix. Numbers are never reused.
enum Reason {
  // Never sent. A reader treats it, and every number that it does not know, as a denial's reason like any other.
  REASON_UNSPECIFIED = 0;
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the generated files, or with ``--check`` compare them; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on any difference")
    check: bool = parser.parse_args(argv).check
    fresh = generate()
    stale = sorted(name for name in fresh.keys() | committed() if fresh.get(name) != read(name))
    if check:
        for name in stale:
            print(f"differs from what protos/generate.py writes: {name}")
        return 1 if stale else 0
    for name in stale:
        write(name, fresh.get(name))
    print(f"{len(fresh)} files generated, {len(stale)} changed")
    return 0


def generate() -> dict[Path, bytes]:
    """Return every generated file by its path in the repository; touches nothing there."""
    with tempfile.TemporaryDirectory() as scratch:
        sources, output = Path(scratch, "protos"), Path(scratch, "out")
        output.mkdir()
        for path in PROTOS.joinpath(PACKAGE).glob("*.proto"):
            copy = sources / path.relative_to(PROTOS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        reasons = reason_proto(load_reasons()).encode()
        sources.joinpath(REASON_PROTO).write_bytes(reasons)
        compile_protos(install(Path(scratch, "env")), sources, output)
        output.joinpath(PACKAGE, "__init__.py").write_text(INIT)
        fresh = {path.relative_to(output): path.read_bytes() for path in files(output / PACKAGE)}
    return fresh | {Path("protos") / REASON_PROTO: reasons}


def load_reasons() -> dict[str, tuple[int, str]]:
    """Return the table of ``chain/reason.py``: code to (number, meaning).

    The file is loaded by its path: importing the package would need its dependencies, which this script does without.
    """
    spec = importlib.util.spec_from_file_location("reason", ROOT / "chain" / "reason.py")
    if spec is None or spec.loader is None:
        raise SystemExit("chain/reason.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {str(reason.value): (int(reason.number), str(reason.meaning)) for reason in module.Reason}


def reason_proto(reasons: Mapping[str, tuple[int, str]]) -> str:
    """Return the text of ``reason.proto``; `SystemExit` when a number is below 1 or stands for two codes."""
    numbers = [number for number, _ in reasons.values()]
    if min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise SystemExit("chain/reason.py: every reason needs a number of its own, from 1 up")
    rows = sorted((number, code, meaning) for code, (number, meaning) in reasons.items())
    body = (f"  // {sentence(meaning)}\n  REASON_{code.upper()} = {number};\n" for number, code, meaning in rows)
    return REASON_HEAD + "".join(body) + "}\n"


def sentence(meaning: str) -> str:
    """Return ``meaning`` with a capital letter at its start and a full stop at its end."""
    return f"{meaning[0].upper()}{meaning[1:]}."


def install(directory: Path) -> Path:
    """Create an environment with the pinned compiler and return its directory of commands."""
    venv.create(directory, with_pip=True)
    commands = directory / ("Scripts" if os.name == "nt" else "bin")
    run([commands / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *COMPILER])
    return commands


def compile_protos(commands: Path, sources: Path, output: Path) -> None:
    """Compile every proto under ``sources`` into Python modules and typed stubs under ``output``."""
    protos = sorted(files(sources))
    services = [proto for proto in protos if b"\nservice " in proto.read_bytes()]
    path = os.pathsep.join((str(commands), os.environ.get("PATH", os.defpath)))
    compiler: list[str | Path] = [commands / "python", "-m", "grpc_tools.protoc", "-I", sources]
    for names, plain, typed in ((protos, "python", "mypy"), (services, "grpc_python", "mypy_grpc")):
        outputs = [f"--{plain}_out={output}", f"--{typed}_out=quiet:{output}"]
        run([*compiler, *outputs, *names], os.environ | {"PATH": path})


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Run ``command``; a failure ends the script with its exit code."""
    code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - only commands built here
    if code:
        raise SystemExit(code)


def committed() -> set[Path]:
    """Return the generated files that the repository has now."""
    return {path.relative_to(ROOT) for path in files(ROOT / PACKAGE)}


def files(directory: Path) -> Iterable[Path]:
    """Yield the files under ``directory``, compiled bytecode left out."""
    return (path for path in directory.rglob("*") if path.is_file() and path.parent.name != "__pycache__")


def read(name: Path) -> bytes | None:
    """Return the committed bytes of ``name``, or None where there is no such file."""
    path = ROOT / name
    return path.read_bytes() if path.is_file() else None


def write(name: Path, data: bytes | None) -> None:
    """Make ``name`` hold ``data``; None removes it."""
    path = ROOT / name
    if data is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
