"""What each process of a team holds."""

from __future__ import annotations

import os

import psutil

from metier.cluster.state import Up

from .figures import Memory
from .processes import named


def measure(up: Up) -> list[Memory]:
    """All processes of the team, the largest first; this one is left out."""
    found = []
    for pid, name in named(up).items():
        if pid == os.getpid():
            continue
        try:
            info = psutil.Process(pid).memory_full_info()
        except psutil.NoSuchProcess:
            continue
        found.append(Memory(name=name, uss_mib=round(info.uss / 2**20, 1), rss_mib=round(info.rss / 2**20, 1)))
    return sorted(found, key=lambda process: -process.uss_mib)
