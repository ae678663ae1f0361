"""What each process of a team holds."""

from __future__ import annotations

import os

from metier.cluster.state import Up

from . import processes
from .figures import Memory


def measure(up: Up) -> list[Memory]:
    """All processes of the team, the largest first; this one is left out."""
    found = []
    for pid, name in processes.named(up).items():
        if pid != os.getpid() and (held := processes.held(pid)):
            uss, rss = held
            found.append(Memory(name=name, uss_mib=round(uss / 2**20, 1), rss_mib=round(rss / 2**20, 1)))
    return sorted(found, key=lambda process: -process.uss_mib)
