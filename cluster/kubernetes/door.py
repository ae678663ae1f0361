"""The HTTP door as pods of its own, which outlive Ray's: why, ops/decisions/0018."""

from __future__ import annotations

from metier.topics.errors import InvalidTeam

from ..gateway.settings import Gateway
from .place import (
    CLIENT,
    DOOR,
    FILE,
    Document,
    Place,
    container_security,
    environment,
    pod_security,
    spread,
)

#: Where the Secret with API keys is in the pod, and its key. As a folder: what changes in the Secret arrives there.
KEYS, KEYS_FILE = "/keys", "keys.txt"
#: What a pod takes: 118 MB idle, 161 MB with 1,000 streams (ops/decisions/0012).
CPU, MEMORY, MEMORY_LIMIT = "250m", "256Mi", "512Mi"
#: A pod that goes still gets requests for so long: nodes hear of it one after the other. In seconds.
LEAVE_S = 5


def port(gateway: Gateway) -> int:
    """The port of its pods. Raises InvalidTeam for one that is not known before they run."""
    if gateway.port == 0:
        raise InvalidTeam(path="gateway.port", reason="it is 0, any free one: Kubernetes must know it")
    return gateway.port


def pods(gateway: Gateway, name: str, place: Place) -> list[Document]:
    """Pods that any request may reach, one name for all of them, and a budget where there are several."""
    labels = {DOOR: name}
    metadata = {"name": f"{name}-door", "labels": labels}
    made: list[Document] = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": _spec(gateway, name, place)},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
    ]
    if gateway.replicas > 1:
        budget = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
        made.append({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": budget})
    return made


def _spec(gateway: Gateway, name: str, place: Place) -> Document:
    labels = {DOOR: name}
    return {
        "replicas": gateway.replicas,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels | CLIENT},
            "spec": {
                "automountServiceAccountToken": False,
                "securityContext": pod_security(),
                "topologySpreadConstraints": [spread(labels)],
                "containers": [_container(gateway, place)],
                # Not optional: no pod starts before there are keys.
                "volumes": [{"name": "keys", "secret": {"secretName": f"{name}-door"}}],
            },
        },
    }


def _container(gateway: Gateway, place: Place) -> Document:
    listens = str(port(gateway))
    where = ["--nats", place.nats_url, "--team", FILE, "--host", "0.0.0.0", "--port", listens]
    probe = {"timeoutSeconds": 5, "periodSeconds": 5}
    return {
        "name": "door",
        "image": place.image,
        "command": ["metier", "gateway", *where, "--keys", f"{KEYS}/{KEYS_FILE}"],
        "env": environment(place, {}),
        "ports": [{"name": "http", "containerPort": int(listens)}],
        # Without a bus it takes no requests, but lives on and waits for it.
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "failureThreshold": 2} | probe,
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "failureThreshold": 6} | probe,
        "startupProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "failureThreshold": 60} | probe,
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVE_S)]}}},
        "resources": {"requests": {"cpu": CPU, "memory": MEMORY}, "limits": {"memory": MEMORY_LIMIT}},
        "securityContext": container_security() | {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "keys", "mountPath": KEYS, "readOnly": True}],
    }
