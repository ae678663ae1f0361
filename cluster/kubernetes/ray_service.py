"""The RayService: Ray's head, a group of workers for each kind of node, and what Serve is told."""

from __future__ import annotations

import json
import math
import re
from importlib.metadata import version

from .. import deploy, placement
from ..node import ENVIRONMENT
from ..placement import Group
from ..team import Team
from .place import (
    FILE,
    GROUP,
    OFFERS,
    STATE,
    TEAM,
    Document,
    Place,
    container_security,
    dns_name,
    environment,
    pod_security,
    spread,
)
from .text import written

#: What a pod has: itself, for each replica and for each GPU in GiB; its processors where replicas ask for none.
POD_GIB, REPLICA_GIB, GPU_GIB, SHARED_CPUS = 1.0, 0.5, 8.0, 2
#: What Ray's head has: its own services, and what of the replicas that ask for nothing lands there.
HEAD_CPUS, HEAD_GIB = 2, 4
#: Metier passes text between processes, so Ray's object store may be small, in bytes.
OBJECT_STORE_BYTES = 256 * 1024**2

GPU = "nvidia.com/gpu"
DASHBOARD_PORT, RAYLET_PORT = 8265, 52365


def service(team: Team, name: str, found: list[Group], place: Place) -> Document:
    """A team without its door."""
    scales = any(group.min < group.max for group in found)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name, "labels": {TEAM: name}},
        "spec": {
            "serveConfigV2": written(deploy.serve_config(team, FILE, place.nats_url, STATE)),
            "rayClusterConfig": {
                "rayVersion": version("ray"),
                "enableInTreeAutoscaling": scales,
                "headGroupSpec": _head(team, name, place),
                "workerGroupSpecs": [_workers(team, name, group, place) for group in found],
            },
        },
    }


def _head(team: Team, name: str, place: Place) -> Document:
    container = _container(team, "ray-head", place, HEAD_CPUS, HEAD_GIB) | {
        "ports": [
            {"name": "gcs", "containerPort": 6379},
            {"name": "dashboard", "containerPort": DASHBOARD_PORT},
            {"name": "client", "containerPort": 10001},
        ]
    }
    container |= _probes("/api/gcs_healthz", DASHBOARD_PORT)
    # Processors of the head are for Ray itself.
    start = {"dashboard-host": "0.0.0.0", "num-cpus": "0", "object-store-memory": str(OBJECT_STORE_BYTES)}
    return {"rayStartParams": start, "template": _template(name, "head", container)}


def _workers(team: Team, name: str, group: Group, place: Place) -> Document:
    resources, room = group.resources, group.room
    cpus = math.ceil(resources.cpus * room) or (1 if placement.counted(resources) else SHARED_CPUS)
    gpus = math.ceil(resources.gpus * room)
    container = _container(team, "ray-worker", place, cpus, POD_GIB + REPLICA_GIB * room + GPU_GIB * gpus)
    # KubeRay's own probe asks for Serve's HTTP proxy too, which a team does not run (kuberay#4994).
    container |= _probes("/api/local_raylet_healthz", RAYLET_PORT)
    template = _template(name, group.name, container)
    spec = template["spec"]
    spec["automountServiceAccountToken"] = False
    spec["topologySpreadConstraints"] = [spread({TEAM: name, GROUP: group.name})]
    start = {"num-cpus": str(cpus), "object-store-memory": str(OBJECT_STORE_BYTES)}
    if gpus:
        container["resources"]["limits"][GPU] = container["resources"]["requests"][GPU] = gpus
        spec["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
        start["num-gpus"] = str(gpus)
    if offered := {what: math.ceil(amount * room) for what, amount in sorted(resources.custom.items()) if amount}:
        start["resources"] = f"'{json.dumps(offered)}'"  # KubeRay hands it to a shell
        spec["nodeSelector"] = {f"{OFFERS}/{re.sub('[^A-Za-z0-9_.-]', '-', what)}": "true" for what in offered}
    sizes = {"replicas": group.min, "minReplicas": group.min, "maxReplicas": group.max}
    return {"groupName": group.name, **sizes, "rayStartParams": start, "template": template}


def _template(name: str, group: str, container: Document) -> Document:
    return {
        "metadata": {"labels": {TEAM: name, GROUP: group}},
        "spec": {
            "securityContext": pod_security(),
            "containers": [container],
            "volumes": [{"name": "state", "emptyDir": {}}],
        },
    }


def _container(team: Team, name: str, place: Place, cpus: int, gib: float) -> Document:
    memory = f"{math.ceil(gib)}Gi"
    return {
        "name": name,
        "image": place.image,
        "env": [*environment(place, ENVIRONMENT), *_keys(team)],
        "resources": {"requests": {"cpu": cpus, "memory": memory}, "limits": {"cpu": cpus, "memory": memory}},
        "securityContext": container_security(),
        "volumeMounts": [{"name": "state", "mountPath": STATE}],
    }


def _probes(path: str, port: int) -> Document:
    """Ready as soon as Ray answers; started anew once it has been silent for two minutes."""
    probe = {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 5}
    return {
        "readinessProbe": probe | {"periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": probe | {"initialDelaySeconds": 30, "periodSeconds": 10, "failureThreshold": 12},
    }


def _keys(team: Team) -> list[Document]:
    """API keys of hosted models, out of the Secret that is named like the team."""
    names = {str(key) for model in team.models.values() if (key := model.options.get("api_key_env"))}
    source = {"name": f"{dns_name(team.name)}-keys"}
    return [{"name": name, "valueFrom": {"secretKeyRef": source | {"key": name}}} for name in sorted(names)]
