"""Around a team: how much of it a drain may take, and who may talk to whom."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..placement import Group
from ..team import Team
from . import door
from .place import CLIENT, DOOR, GROUP, NATS_PORT, OTLP_PORT, TEAM, Document, Place
from .ray_service import DASHBOARD_PORT, RAYLET_PORT

NATS, COLLECTOR = {"app.kubernetes.io/name": "nats"}, {"app.kubernetes.io/name": "otel-collector"}
OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}
NATS_CLUSTER_PORT = 6222


def budgets(name: str, found: list[Group]) -> list[Document]:
    """Who drains nodes takes one pod of a group at a time. A single pod, as the head, has none: it could keep none.

    A number of pods that stay is all Kubernetes can do for pods that are not of its own controllers:
    https://kubernetes.io/docs/tasks/run-application/configure-pdb/#arbitrary-controllers-and-selectors
    """
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": f"{name}-{group.name}", "labels": {TEAM: name}},
            "spec": {"minAvailable": group.min - 1, "selector": {"matchLabels": {TEAM: name, GROUP: group.name}}},
        }
        for group in found
        if group.min > 1
    ]


def network(team: Team, name: str, found: list[Group], place: Place) -> list[Document]:
    """The team talks to itself, the broker, the collector, and what its file says it calls; anybody to its door."""
    own, publishers = {TEAM: name}, [_pods({TEAM: name}), _pods(CLIENT)]
    bus = [
        {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
        {"to": [_pods(NATS, anywhere=True)], "ports": _ports(_port(place.nats_url, NATS_PORT))},
        {"to": [_pods(COLLECTOR, anywhere=True)], "ports": _ports(_port(place.otlp_endpoint, OTLP_PORT))},
    ]
    egress = [{"to": [_pods(own)]}, *bus]
    if outside := _outside(team):
        egress.append({"ports": _ports(*outside)})
    operator = {"from": [_pods(OPERATOR, anywhere=True)], "ports": _ports(DASHBOARD_PORT, RAYLET_PORT)}
    report = [_pods(own)]
    made = [_policy(f"{name}-team", own, ingress=[{"from": [_pods(own)]}, operator], egress=egress)]
    if team.gateway:
        entrance = {DOOR: name}
        report.append(_pods(entrance))
        # Keys say who may, since nobody knows where people come from: an ingress, a load balancer, a pod.
        made.append(_policy(f"{name}-door", entrance, ingress=[{"ports": _ports(door.port(team.gateway))}], egress=bus))
    made += [
        _policy(
            f"{name}-broker",
            NATS,
            ingress=[
                {"from": publishers, "ports": _ports(NATS_PORT)},
                {"from": [_pods(NATS)], "ports": _ports(NATS_PORT, NATS_CLUSTER_PORT)},
            ],
        ),
        _policy(f"{name}-collector", COLLECTOR, ingress=[{"from": report, "ports": _ports(OTLP_PORT)}]),
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
