"""The processes of a running team by name, and what they hold."""

from __future__ import annotations

import os

import psutil  # type: ignore[import-untyped]

from metier.cluster import forkserver
from metier.cluster.state import Up

from .clock import CLIENT

BROKER, RAY = "nats-server", "ray"
#: Serve names a replica's process so, then application and deployment.
_REPLICA = "ray::ServeReplica:"


def named(up: Up) -> dict[int, str]:
    """Every process of the team by id, this one included: the actor's name, the broker, or a part of Ray."""
    found = {up.pid: "metier up", up.nats_pid: BROKER, os.getpid(): CLIENT}
    for process in psutil.Process(up.pid).children(recursive=True):
        if process.pid not in found:
            found[process.pid] = _name(process)
    return found


def grouped(up: Up) -> dict[int, str]:
    """The same; all of Ray and Serve that is no replica goes by one name."""
    return {pid: RAY if name.startswith((RAY, "metier", "fork")) else name for pid, name in named(up).items()}


def _name(process: psutil.Process) -> str:
    try:
        command = process.cmdline()
    except psutil.NoSuchProcess:
        return RAY
    title = command[0] if command else process.name()
    if title.startswith(_REPLICA):
        # While it runs a method, that is in the title too.
        app, _, deployment = title.removeprefix(_REPLICA).partition(".")[0].partition(":")
        return app if app == deployment else f"{app}: {deployment}"
    if forkserver.__name__ in command:
        return "fork server"
    script = next((part for part in command[1:] if part.endswith(".py")), title)
    return f"{RAY}: {os.path.basename(script).removeprefix('ray::')}"  # noqa: PTH119 - a title, not a path


def held(pid: int) -> tuple[int, int] | None:
    """Bytes of its own pages, and of all it maps; None if it is gone."""
    try:
        info = psutil.Process(pid).memory_full_info()
    except psutil.NoSuchProcess:
        return None
    return info.uss, info.rss
