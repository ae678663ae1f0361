"""A team as Kubernetes objects: a RayService, its HTTP door, and around them disruption budgets and network policies.

Pure functions from a team to plain documents; the same team renders the same bytes. What does not depend on a team, the
broker and the collector, lies in `ops/kubernetes`. Sources: https://docs.ray.io/en/latest/cluster/kubernetes and
https://github.com/ray-project/kuberay (ray-operator/apis/ray/v1).
"""

from __future__ import annotations

import msgspec

from .. import placement
from ..team import Team
from . import door, policies, ray_service
from .place import Document, Place, dns_name
from .text import all_written

__all__ = ["Place", "documents", "render"]


def render(team: Team, place: Place) -> str:
    """All documents of a team, for `kubectl apply`. Raises InvalidTeam for what Kubernetes cannot have."""
    return (
        "# Written by `metier build --kubernetes`: change the team file instead, and write it again.\n"
        f"---\n{all_written(documents(team, place))}"
    )


def documents(team: Team, place: Place) -> list[Document]:
    """The RayService first, then the door if the team has one, then what protects them."""
    name = dns_name(team.name)
    inside = msgspec.structs.replace(team, gateway=None)
    found = placement.groups(inside)
    entrance = door.pods(team.gateway, name, place) if team.gateway else []
    return [
        ray_service.service(inside, name, found, place),
        *entrance,
        *policies.budgets(name, found),
        *policies.network(team, name, found, place),
    ]
