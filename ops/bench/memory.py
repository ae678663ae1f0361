"""What each process of a team holds."""

from __future__ import annotations

import os

from metier.cluster import build
from metier.cluster import team as teams
from metier.cluster.state import Up
from metier.cluster.team import Team

from . import processes
from .figures import Memory


def measure(up: Up) -> list[Memory]:
    """All processes of the team, the largest first; this one is left out."""
    without = bare(teams.read(up.team))
    found = []
    for pid, name in processes.named(up).items():
        if pid != os.getpid() and (held := processes.held(pid)):
            uss, rss = held
            own, mapped = round(uss / 2**20, 1), round(rss / 2**20, 1)
            found.append(Memory(name=name, uss_mib=own, rss_mib=mapped, bare=name in without))
    return sorted(found, key=lambda process: -process.uss_mib)


def bare(team: Team) -> set[str]:
    """The actors that have no model in their process."""
    with_model = {name for name, model in team.models.items() if model.placement == "inside"}
    return {name for name in build.actors(team) if getattr(build.section(team, name), "model", "") not in with_model}
