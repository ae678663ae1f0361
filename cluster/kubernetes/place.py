"""Where a team runs in Kubernetes, what the image says of itself, and what all pods of a team have."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from metier.topics.errors import InvalidTeam

Document = dict[str, Any]

#: The team file inside the image, and the folder for what providers keep: `ops/docker/Dockerfile`.
FILE, STATE = "/team/team.yaml", "/state"
#: What the image runs as.
USER = 1000

#: Labels of the pods of a team, of its door's, and of a node that offers a custom resource: `metier/gpu-a: "true"`.
TEAM, GROUP, DOOR, OFFERS = "metier/team", "metier/group", "metier/door", "metier"
#: Pods that publish tasks carry it; the broker lets them in.
CLIENT = {"metier/client": "true"}

NATS_PORT, OTLP_PORT = 4222, 4318


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a team is to run."""

    #: Holds Metier, the team's folder and its models.
    image: str
    nats_url: str = f"nats://nats:{NATS_PORT}"
    otlp_endpoint: str = f"http://otel-collector:{OTLP_PORT}"


def dns_name(name: str) -> str:
    """A token as a name in Kubernetes (RFC 1035; KubeRay adds suffixes of its own). Raises InvalidTeam."""
    found = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    if not re.fullmatch("[a-z].{,39}", found):
        raise InvalidTeam(path="name", reason=f"{name!r} must begin with a letter and have at most 40 for Kubernetes")
    return found


def pod_security() -> Document:
    """No pod of a team is root."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Document:
    """And none becomes it."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def environment(place: Place, values: dict[str, str]) -> list[Document]:
    """Where telemetry goes, and values."""
    return [
        {"name": name, "value": value}
        for name, value in ({"OTEL_EXPORTER_OTLP_ENDPOINT": place.otlp_endpoint} | values).items()
    ]


def spread(labels: dict[str, str]) -> Document:
    """Pods with these labels go to different nodes where they can."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }
