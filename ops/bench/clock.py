"""CPU time of processes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import psutil  # type: ignore[import-untyped]

#: What this process is called in figures.
CLIENT = "client"


class Clock:
    """CPU time of named processes, from its making on."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._processes = {pid: psutil.Process(pid) for pid in names if psutil.pid_exists(pid)}
        self._names = names
        self._began = self._read()

    def used_s(self) -> dict[str, float]:
        """Seconds since, by name; those of one name are added up."""
        used: dict[str, float] = {}
        for pid, seconds in self._read().items():
            used[self._names[pid]] = used.get(self._names[pid], 0.0) + seconds - self._began[pid]
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


def descendants() -> dict[int, str]:
    """This process and all that descend from it, each by the name of its program."""
    found = {os.getpid(): CLIENT}
    for process in psutil.Process().children(recursive=True):
        try:
            found[process.pid] = process.name()
        except psutil.NoSuchProcess:
            continue
    return found
