"""A team as Kubernetes objects: a RayService, and around it disruption budgets and network policies.

Pure functions from a team to plain documents; the same team renders the same bytes. What does not depend on a team, the
broker and the collector, lies in `ops/kubernetes`. Sources: https://docs.ray.io/en/latest/cluster/kubernetes and
https://github.com/ray-project/kuberay (ray-operator/apis/ray/v1).
"""

from __future__ import annotations

import json
import math
import re
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from metier.topics.errors import InvalidTeam

from . import deploy, placement
from .placement import Group
from .team import Team

Document = dict[str, Any]

#: The team file inside the image, and the folder for what providers keep: `ops/docker/Dockerfile`.
FILE, STATE = "/team/team.yaml", "/state"
#: Labels of the pods of a team, and of a node that offers a custom resource: `metier/gpu-a: "true"`.
TEAM, GROUP, OFFERS = "metier/team", "metier/group", "metier"
#: Pods that publish tasks carry it; the broker lets them in.
CLIENT = {"metier/client": "true"}

#: What a pod has: itself, for each replica and for each GPU in GiB; its processors where replicas ask for none.
POD_GIB, REPLICA_GIB, GPU_GIB, SHARED_CPUS = 1.0, 0.5, 8.0, 2
#: What Ray's head has: its own services, and what of the replicas that ask for nothing lands there.
HEAD_CPUS, HEAD_GIB = 2, 4
#: Metier passes text between processes, so Ray's object store may be small, in bytes.
OBJECT_STORE_BYTES = 256 * 1024**2
#: What the image runs as.
USER = 1000

GPU = "nvidia.com/gpu"
NATS, COLLECTOR = {"app.kubernetes.io/name": "nats"}, {"app.kubernetes.io/name": "otel-collector"}
OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}
NATS_PORT, NATS_CLUSTER_PORT, OTLP_PORT, DASHBOARD_PORT, RAYLET_PORT = 4222, 6222, 4318, 8265, 52365


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a team is to run."""

    #: Holds Metier, the team's folder and its models.
    image: str
    nats_url: str = f"nats://nats:{NATS_PORT}"
    otlp_endpoint: str = f"http://otel-collector:{OTLP_PORT}"


def render(team: Team, place: Place) -> str:
    """All documents of a team, for `kubectl apply`. Raises InvalidTeam for a name that Kubernetes cannot have."""
    written = yaml.dump_all(documents(team, place), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return (
        f"# Written by `metier build --kubernetes`: change the team file instead, and write it again.\n---\n{written}"
    )


def documents(team: Team, place: Place) -> list[Document]:
    """The RayService first, then what protects it."""
    name, found = dns_name(team.name), placement.groups(team)
    budgets = [_budget(name, group) for group in found if group.min > 1]
    return [_ray_service(team, name, found, place), *budgets, *_policies(team, name, found, place)]


def dns_name(name: str) -> str:
    """A token as a name in Kubernetes (RFC 1035; KubeRay adds suffixes of its own). Raises InvalidTeam."""
    found = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    if not re.fullmatch("[a-z].{,39}", found):
        raise InvalidTeam(path="name", reason=f"{name!r} must begin with a letter and have at most 40 for Kubernetes")
    return found


# ── The RayService ───────────────────────────────────────────────────────────────────────────────────────────────────


def _ray_service(team: Team, name: str, found: list[Group], place: Place) -> Document:
    serve = deploy.serve_config(team, FILE, place.nats_url, STATE)
    scales = any(group.min < group.max for group in found)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name, "labels": {TEAM: name}},
        "spec": {
            "serveConfigV2": yaml.dump(serve, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True),
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
    # KubeRay's own probe asks for Serve's HTTP proxy too, which a team without HTTP does not run (kuberay#4994).
    container |= _probes("/api/local_raylet_healthz", RAYLET_PORT)
    template = _template(name, group.name, container)
    spec = template["spec"]
    spec["automountServiceAccountToken"] = False
    spec["topologySpreadConstraints"] = [_spread(name, group.name)]
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
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "state", "emptyDir": {}}],
        },
    }


def _container(team: Team, name: str, place: Place, cpus: int, gib: float) -> Document:
    memory = f"{math.ceil(gib)}Gi"
    return {
        "name": name,
        "image": place.image,
        "env": [
            {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": place.otlp_endpoint},
            {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"},
            *_keys(team),
        ],
        "resources": {"requests": {"cpu": cpus, "memory": memory}, "limits": {"cpu": cpus, "memory": memory}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
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


def _spread(name: str, group: str) -> Document:
    """Pods of a group go to different nodes where they can."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {TEAM: name, GROUP: group}},
    }


# ── Around it ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _budget(name: str, group: Group) -> Document:
    """Who drains nodes takes one pod of a group at a time. A single pod, as the head, has none: it could keep none.

    A number of pods that stay is all Kubernetes can do for pods that are not of its own controllers:
    https://kubernetes.io/docs/tasks/run-application/configure-pdb/#arbitrary-controllers-and-selectors
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": f"{name}-{group.name}", "labels": {TEAM: name}},
        "spec": {"minAvailable": group.min - 1, "selector": {"matchLabels": {TEAM: name, GROUP: group.name}}},
    }


def _policies(team: Team, name: str, found: list[Group], place: Place) -> list[Document]:
    """Who may talk to whom: the team to itself, the broker, the collector, and what its file says it calls."""
    own = {TEAM: name}
    egress = [
        {"to": [_pods(own)]},
        {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
        {"to": [_pods(NATS, anywhere=True)], "ports": _ports(_port(place.nats_url, NATS_PORT))},
        {"to": [_pods(COLLECTOR, anywhere=True)], "ports": _ports(_port(place.otlp_endpoint, OTLP_PORT))},
    ]
    if outside := _outside(team):
        egress.append({"ports": _ports(*outside)})
    operator = {"from": [_pods(OPERATOR, anywhere=True)], "ports": _ports(DASHBOARD_PORT, RAYLET_PORT)}
    made = [
        _policy(f"{name}-team", own, ingress=[{"from": [_pods(own)]}, operator], egress=egress),
        _policy(
            f"{name}-broker",
            NATS,
            ingress=[
                {"from": [_pods(own), _pods(CLIENT)], "ports": _ports(NATS_PORT)},
                {"from": [_pods(NATS)], "ports": _ports(NATS_PORT, NATS_CLUSTER_PORT)},
            ],
        ),
        _policy(f"{name}-collector", COLLECTOR, ingress=[{"from": [_pods(own)], "ports": _ports(OTLP_PORT)}]),
    ]
    if any(group.min < group.max for group in found):  # the autoscaler beside the head asks Kubernetes for pods
        made.append(_policy(f"{name}-autoscaler", own | {GROUP: "head"}, egress=[{"ports": _ports(443, 6443)}]))
    return made


def _policy(name: str, pods: dict[str, str], **rules: list[Document]) -> Document:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": {"matchLabels": dict(pods)},
            "policyTypes": [direction.capitalize() for direction in rules],
            **rules,
        },
    }


def _pods(labels: dict[str, str], *, anywhere: bool = False) -> Document:
    """Pods with these labels, of this namespace or of any."""
    return ({"namespaceSelector": {}} if anywhere else {}) | {"podSelector": {"matchLabels": dict(labels)}}


def _ports(*ports: int) -> list[Document]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _outside(team: Team) -> list[int]:
    """The ports of hosted models and of MCP servers with a URL."""
    urls = [str(model.options["base_url"]) for model in team.models.values() if "base_url" in model.options]
    urls += [server.url for specialist in team.specialists.values() for server in specialist.mcp if server.url]
    return sorted({_port(url, 80 if url.startswith("http:") else 443) for url in urls})


def _port(url: str, default: int) -> int:
    return urlsplit(url.partition(",")[0]).port or default


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and every list in full: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """All values are written where they stand."""
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(str, _text)
