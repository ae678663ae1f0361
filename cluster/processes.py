"""Processes as /proc tells of them, so that those a team started can be ended if they outlive it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)

_libc = ctypes.CDLL(None, use_errno=True)


class Process(msgspec.Struct, frozen=True):
    """A process; its start tells it from a later one with the same id."""

    pid: int
    parent: int
    #: Clock ticks after boot.
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        found = _read(self.pid)
        return found is not None and found.started == self.started


def descendants(roots: set[int]) -> list[Process]:
    """The processes of these ids that are children of this one, and all below them."""
    table = list(_all())
    inside = {p.pid for p in table if p.pid in roots and p.parent == os.getpid()}
    while more := {p.pid for p in table if p.parent in inside} - inside:
        inside |= more
    return [p for p in table if p.pid in inside]


def children(program: str) -> set[int]:
    """Ids of this process's children whose command line names a path below `program`."""
    found = set()
    for process in _all():
        if process.parent == os.getpid():
            with contextlib.suppress(OSError):
                if program in Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace"):
                    found.add(process.pid)
    return found


def told(variable: str, value: str) -> list[Process]:
    """The processes of this user that were started with a variable of that value, whoever their parent is now."""
    wanted = f"{variable}={value}".encode()
    found = []
    for process in _all():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                found.append(process)
    return found


async def end(processes: list[Process], grace_s: float = 3.0) -> list[Process]:
    """Waits until all are gone and kills those that are not; returns the killed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            while any(process.alive for process in processes):  # noqa: ASYNC110 - not all are our children
                await asyncio.sleep(0.02)
    return kill(processes)


def kill(processes: list[Process]) -> list[Process]:
    """Kills those that live and returns them."""
    left = [process for process in processes if process.alive]
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return left


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """The kernel sends this process the signal when the thread that started it ends. For a child after its fork."""
    _libc.prctl(_DIE_WITH_PARENT, number)


def give_way() -> None:
    """This thread, when it is woken, takes no core from another that runs (sched(7), SCHED_BATCH).

    For who is woken by every message: whom it pushes aside has to come back for the rest of what it was doing.
    """
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _all() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := _read(int(entry.name))):
            yield process


def _read(pid: int) -> Process | None:
    try:
        # The name in parentheses may hold anything; what follows it has fixed places: proc_pid_stat(5).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), int(fields[19]))
