"""The processes of a running team by name, and what they use."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import psutil  # type: ignore[import-untyped]

from metier.cluster import forkserver
from metier.cluster.state import Up

CLIENT, BROKER, RAY = "client", "nats-server", "ray"
#: Serve names a replica's process so, then application and deployment.
_REPLICA = "ray::ServeReplica:"


def named(up: Up) -> dict[int, str]:
    """Every process of the team by id, this one included: the actor's name, the broker, or a part of Ray."""
    found = {up.pid: "metier up", up.nats_pid: BROKER, os.getpid(): CLIENT}
    for process in psutil.Process(up.pid).children(recursive=True):
        if process.pid not in found:
            found[process.pid] = _name(process)
    return found


def _name(process: psutil.Process) -> str:
    try:
        command = process.cmdline()
    except psutil.NoSuchProcess:
        return RAY
    title = command[0] if command else process.name()
    if title.startswith(_REPLICA):
        app, _, deployment = title.removeprefix(_REPLICA).partition(":")
        return app if app == deployment else f"{app}: {deployment}"
    if forkserver.__name__ in command:
        return "fork server"
    script = next((part for part in command[1:] if part.endswith(".py")), title)
    return f"{RAY}: {os.path.basename(script).removeprefix('ray::')}"  # noqa: PTH119 - a title, not a path


class Clock:
    """CPU time of the processes of a team, from its making on."""

    def __init__(self, processes: Mapping[int, str]) -> None:
        self._processes = {pid: psutil.Process(pid) for pid in processes}
        self._names = processes
        self._began = self._read()

    def used_s(self) -> dict[str, float]:
        """Seconds since; all of Ray and Serve that is no replica counts as one."""
        used: dict[str, float] = {}
        for pid, seconds in self._read().items():
            name = RAY if self._names[pid].startswith((RAY, "metier", "fork")) else self._names[pid]
            used[name] = used.get(name, 0.0) + seconds - self._began[pid]
        return used

    def _read(self) -> dict[int, float]:
        found: dict[int, float] = {}
        for pid, process in list(self._processes.items()):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                del self._processes[pid]
                continue
            found[pid] = time.process_time() if pid == os.getpid() else times.user + times.system
        return found


def held(pid: int) -> tuple[int, int] | None:
    """Bytes of its own pages, and of all it maps; None if it is gone."""
    try:
        info = psutil.Process(pid).memory_full_info()
    except psutil.NoSuchProcess:
        return None
    return info.uss, info.rss
