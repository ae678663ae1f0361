"""The files of `ops/` and the validators they are held to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops"

#: The release whose schemas are asked; everything used is older.
KUBERNETES = "1.37"

Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    """All documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def installed(name: str, *arguments: object) -> tuple[int, str]:
    """Exit status and output of a program that lies beside python."""
    command = [str(Path(sys.executable).parent / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def complaints_of_kubernetes(found: Iterable[Document], folder: Path) -> str:
    """What Kubernetes' own OpenAPI schemas, strict, say against documents; empty if nothing."""
    path = folder / "documents.yaml"
    path.write_text(yaml.safe_dump_all(found))
    status, said = installed("kubernetes-validate", "-k", KUBERNETES, "--strict", path)
    return "" if status == 0 else said


def complaints_of_kuberay(document: Document, folder: Path) -> list[str]:
    """What the schema of a RayService, and Kubernetes' of the pods in it, say against one."""
    path = folder / "service.json"
    path.write_text(json.dumps(document))
    status, said = installed("check-jsonschema", "--schemafile", ROOT / "tests/schemas/rayservice-v1.json", path)
    cluster = document["spec"]["rayClusterConfig"]
    templates = [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    pods = [
        {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template}
        for template in templates
    ]
    return [*([said] if status else []), *filter(None, [complaints_of_kubernetes(pods, folder)])]
