"""The law of the layout: files at the top are pure, folders are adapters, and imports go one way."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "chain"
TOP = sorted(PACKAGE.glob("*.py"))
FOLDERS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")

PURE = {
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "concurrent", "dataclasses", "datetime",
    "decimal", "enum", "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "json", "math", "operator",
    "re", "threading", "typing", "uuid",
    "cedarpy", "cryptography", "tomllib", "zlib", "msgspec", "nacl", "pydantic", "rfc8785",
}  # fmt: skip
"""All that a file at the top may import: no clock, no randomness, no I/O, no transport, no graph library."""

IMPURE_NAMES = {
    ("uuid", "uuid1"), ("uuid", "uuid4"), ("concurrent.futures", "ThreadPoolExecutor"),
    ("concurrent.futures", "ProcessPoolExecutor"), ("threading", "Thread"), ("threading", ""),
}  # fmt: skip

COMPOSERS = {"__main__.py"}
"""The one file at the top that starts an adapter: it is the command."""

MAY_IMPORT = {
    "bundles": {"bundles"},
    "store": {"store"},
    "identity": {"identity"},
    "graph": {"graph"},
    "wire": {"wire", "v1"},
    "service": {"service", "wire", "v1", "graph"},
    "client": {"client", "wire", "v1"},
    "web": {"web", "wire", "v1"},
    "report": {"report"},
    "cli": set(FOLDERS),
    "v1": {"v1"},
}
"""Folder -> the folders that it may import; everybody may import the files at the top."""


def test_every_file_at_the_top_stands_on_the_map() -> None:
    page = (PACKAGE.parent / "docs/adr/0003-more-files-in-the-core.md").read_text(encoding="utf-8")
    table = "".join(line for line in page.splitlines(keepends=True) if line.startswith("| "))
    stands = re.findall(r"`([a-z0-9]+)`", table)
    assert sorted(stands) == sorted(path.stem for path in TOP if not path.stem.startswith("__"))
    assert len(stands) > 100


def imports(file: Path) -> set[tuple[str, str]]:
    """Every (module, name) that a file imports, wherever in it; `if TYPE_CHECKING` is no excuse."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found |= {(node.module or "", alias.name) for alias in node.names}
    return found


def parts(file: Path) -> set[str]:
    """The folders and top-level files of this package that a file imports."""
    found = set()
    known = {*FOLDERS, *(top.stem for top in TOP)}
    for module, name in imports(file):
        path = module.split(".")
        if path[0] == "chain":
            found.add(path[1] if len(path) > 1 else name)
    return found & known  # what is left out is a public name of the package itself


@pytest.mark.parametrize("file", [file for file in TOP if file.name not in COMPOSERS], ids=lambda file: file.name)
def test_a_file_at_the_top_is_pure(file: Path) -> None:
    for module, name in imports(file):
        if module.split(".")[0] == "chain":
            assert not set(module.split(".")[1:2]) & set(FOLDERS), f"{file.name} imports the folder of {module}"
            assert name not in FOLDERS or module != "chain", f"{file.name} imports the folder {name}"
        else:
            assert module.split(".")[0] in PURE, f"{file.name} imports {module}"
            assert (module, name) not in IMPURE_NAMES, f"{file.name} imports {module}.{name}"
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)}
    assert called.isdisjoint({"open", "print", "input", "__import__", "eval", "exec", "uuid.uuid1", "uuid.uuid4"})
    assert called.isdisjoint({"datetime.now", "datetime.utcnow", "datetime.today", "date.today"})


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_files_and_its_own(folder: str) -> None:
    files = {file.stem for file in TOP}
    for file in sorted((PACKAGE / folder).rglob("*.py")):
        assert parts(file) <= files | MAY_IMPORT[folder], f"{folder}/{file.name} imports {parts(file) - files}"


def test_the_graph_of_the_files_has_no_circle() -> None:
    """Imports for the type checker alone may look back; what runs may not."""
    graph = {}
    for file in TOP:
        tree = ast.parse(file.read_text())
        typing_only = {id(node) for branch in tree.body if _for_types(branch) for node in ast.walk(branch)}
        graph[file.stem] = {
            name
            for node in ast.walk(tree)
            if id(node) not in typing_only and isinstance(node, ast.ImportFrom) and node.module
            for name in _files(node)
        }
    while free := {name for name, needed in graph.items() if not needed & graph.keys()}:
        graph = {name: needed for name, needed in graph.items() if name not in free}
    assert not graph


def _for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _files(node: ast.ImportFrom) -> set[str]:
    path = (node.module or "").split(".")
    if path[0] != "chain":
        return set()
    return {path[1]} if len(path) > 1 else {alias.name for alias in node.names}


def test_every_file_opens_with_its_law() -> None:
    without = [
        file.name
        for file in TOP
        if file.name not in {"__init__.py", "__main__.py", "base64url.py"}
        and "The law of this file:" not in (ast.get_docstring(ast.parse(file.read_text())) or "")
    ]
    assert without == []


def test_importing_the_package_loads_no_transport() -> None:
    script = "import sys, chain; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(ran.stdout.split())
    assert "chain" in loaded
    assert loaded.isdisjoint(
        {"grpc", "networkx", "google", "apsw", "sqlite3", "click", "uvloop", "asyncio", "starlette", "uvicorn"}
    )
