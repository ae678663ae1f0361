"""What Ray itself makes of a RayService; in a process of its own, for Ray's modules warn when they are loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

TESTS = Path(__file__).parents[1]


class Reading(msgspec.Struct, frozen=True):
    """What Serve and the autoscaler understood."""

    #: The arguments of each application, by its name.
    applications: dict[str, dict[str, Any]]
    #: Fewest, most and what one node offers, of each kind of node.
    nodes: dict[str, tuple[int, int, dict[str, int]]]


def read(service: dict[str, Any]) -> Reading:
    """A RayService as Ray reads it. Raises CalledProcessError if it does not."""
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, cwd=TESTS, input=json.dumps(service), check=True, capture_output=True, text=True)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Reading)


def _read(service: dict[str, Any]) -> Reading:
    from ray.autoscaler._private.kuberay import autoscaling_config
    from ray.serve.schema import ServeDeploySchema

    spec = service["spec"]
    config = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"]))
    cluster = {"metadata": {"name": "team", "namespace": "default"}, "spec": spec["rayClusterConfig"]}
    kinds = autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    return Reading(
        applications={each.name: each.args for each in config.applications},
        nodes={name: (kind["min_workers"], kind["max_workers"], kind["resources"]) for name, kind in kinds.items()},
    )


if __name__ == "__main__":
    print(msgspec.json.encode(_read(json.load(sys.stdin))).decode())
