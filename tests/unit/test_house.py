"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("topics", "actors", "cluster")
SOURCES = [path for part in PARTS for path in sorted((ROOT / part).rglob("*.py"))]

FILE_LIMIT = 300
FUNCTION_LIMIT = 40
#: Files and functions over the limit, each with its reason.
LONG = {
    "topics/messages.py": "the whole vocabulary, read from top to bottom",
    "topics/streams.py:streams": "a table of streams, one entry each",
}

TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".conf", ".sh", ""}
MACHINE = re.compile(r"/(work|farm|root|Users)/\w")
#: Where packages come from is pip's own configuration.
REGISTRY = re.compile(r"py(pi)\.org|download\.py(torch)\.org|registry\.n(pm)js|pythonho(sted)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Level and module of each import, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ((node.level, f"{module}.{alias.name}".strip(".")) for alias in node.names)


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, its docstring apart."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            document = node.body[0] if ast.get_docstring(node) else None
            lines = (node.end_lineno or 0) - node.lineno + 1
            yield (
                node.name,
                lines - (document.end_lineno - document.lineno + 1 if document and document.end_lineno else 0),
            )


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_has_at_most_300_lines_or_a_reason(path: Path) -> None:
    assert name(path) in LONG or len(path.read_text().splitlines()) <= FILE_LIMIT


def test_a_function_has_at_most_40_lines_or_a_reason() -> None:
    long = {
        f"{name(path)}:{function}": lines
        for path in SOURCES
        for function, lines in functions(ast.parse(path.read_text()))
        if lines > FUNCTION_LIMIT
    }

    assert {} == {place: lines for place, lines in long.items() if place not in LONG}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_are_relative_inside_a_folder_and_metier_x_across(path: Path) -> None:
    part, depth = path.relative_to(ROOT).parts[0], len(path.relative_to(ROOT).parts) - 1
    wrong = [
        module
        for level, module in imports(ast.parse(path.read_text()))
        if (level == 0 and module.split(".")[0] in PARTS)  # a second copy of every class
        or (level == 0 and module.startswith(f"metier.{part}."))  # should be relative
        or level > depth  # out of the folder
    ]

    assert [] == wrong


def test_the_telemetry_sdk_lives_in_cluster() -> None:
    homes = {
        path.relative_to(ROOT).parts[0]
        for path in SOURCES
        for level, module in imports(ast.parse(path.read_text()))
        if level == 0 and module.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))
    }

    assert homes <= {"cluster"}


def test_the_import_contracts_hold() -> None:
    lint = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == lint.returncode, lint.stdout


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("metier.actors.specialist", {"torch", "transformers", "ray", "nats"}),
        ("metier.actors.router", {"torch", "transformers", "ray", "nats"}),
        ("metier.cluster.team", {"torch", "transformers", "ray", "nats"}),
        ("metier.cluster.cli", {"torch", "transformers"}),
    ],
)
def test_importing_a_part_loads_no_library_it_may_not_need(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT.anchor, check=True, capture_output=True, text=True)

    assert set() == heavy & set(done.stdout.split())


def test_the_tree_names_no_machine_and_no_registry() -> None:
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    paths = [ROOT / entry for entry in listed if entry and Path(entry).suffix in TEXT]
    found = [
        f"{name(path)}: {match[0]}"
        for path in paths
        if path.is_file()
        for pattern in (MACHINE, REGISTRY)
        for match in pattern.finditer(path.read_text())
    ]

    assert [] == found
