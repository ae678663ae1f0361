"""What the built wheel holds. `make package` runs this in a clean environment, without extras."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("topics", "actors", "cluster")
DISTRIBUTION = importlib.metadata.distribution("metier")


def test_the_wheel_holds_every_file_of_the_three_folders() -> None:
    expected = {
        f"metier/{path.relative_to(ROOT).as_posix()}"
        for part in PARTS
        for path in (ROOT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    shipped = {str(path) for path in DISTRIBUTION.files or () if path.suffix != ".pyc"}

    assert expected == {path for path in shipped if path.startswith("metier/")}


def test_the_wheel_puts_nothing_beside_metier() -> None:
    tops = {path.parts[0] for path in DISTRIBUTION.files or ()} - {".."}

    assert {"metier", f"metier-{DISTRIBUTION.version}.dist-info"} == tops


def test_the_wheel_carries_its_licence() -> None:
    assert "Apache License" in (DISTRIBUTION.read_text("licenses/LICENSE") or "")


def test_the_plain_install_is_the_client_alone() -> None:
    required = {
        requirement.split(">")[0] for requirement in DISTRIBUTION.requires or () if "extra ==" not in requirement
    }

    assert {"msgspec", "nats-py", "opentelemetry-api"} == required


def test_the_contract_works_without_the_repository() -> None:
    code = "from metier.topics.messages import Task; print(Task(text='Planifie un week-end').check().tenant)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT.anchor, check=True, capture_output=True, text=True)

    assert "default\n" == done.stdout
