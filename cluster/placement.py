"""Groups of nodes for a team: replicas that want the same of a node share a group, and each node has room for some."""

from __future__ import annotations

import math
import re

import msgspec

from . import build, deploy
from .team import DOOR, Replicas, Resources, Team

#: Replicas that ask for nothing of their node share one, so many at most.
SHARING = 8


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that are alike: one group for each distinct `resources` in the team file."""

    name: str
    resources: Resources
    #: Replicas that one node has room for.
    room: int
    min: int
    max: int


def groups(team: Team) -> list[Group]:
    """All groups, by name, from room for the least to room for the most replicas that the team file allows."""
    wanted: dict[str, tuple[Resources, list[Replicas]]] = {}
    for application in deploy.names(team):
        resources, replicas = _asked(team, application)
        wanted.setdefault(_group_name(resources), (resources, []))[1].append(replicas)
    return [_group(name, *wanted[name]) for name in sorted(wanted)]


def _asked(team: Team, application: str) -> tuple[Resources, Replicas]:
    """What one replica takes, and how many there may be."""
    if application == DOOR:
        return Resources(), Replicas()
    model = deploy.model_of(team, application)
    section = team.models[model] if model else build.section(team, application)
    return section.resources, section.replicas


def _group_name(resources: Resources) -> str:
    amounts = {"cpu": resources.cpus, "gpu": resources.gpus, **dict(sorted(resources.custom.items()))}
    parts = [f"{what}-{amount:g}" for what, amount in amounts.items() if amount]
    return re.sub("[^a-z0-9]+", "-", "-".join(parts).lower()) or "shared"


def _group(name: str, resources: Resources, sizes: list[Replicas]) -> Group:
    room = _room(resources)
    low, high = (math.ceil(sum(size) / room) for size in zip(*((s.min, s.max) for s in sizes), strict=True))
    if not counted(resources):
        low = high  # Ray's autoscaler adds nodes for what replicas ask for: these ask for nothing
    return Group(name=name, resources=resources, room=room, min=low, max=high)


def counted(resources: Resources) -> bool:
    """Whether a replica asks for anything, so that Ray counts what is left of a node."""
    return bool(resources.cpus or resources.gpus or any(resources.custom.values()))


def _room(resources: Resources) -> int:
    """As many replicas as share one GPU, else one processor, else one of what is scarcest; a larger one is alone."""
    if not counted(resources):
        return SHARING
    share = resources.gpus or resources.cpus or max(resources.custom.values())
    return max(1, int(1 / share + 1e-9))
