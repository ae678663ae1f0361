"""The machine and the versions a run was made with."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from metier.cluster.server import binary

from .figures import Machine

PACKAGES = ("metier", "ray", "nats-py", "msgspec", "uvloop", "opentelemetry-api", "torch", "transformers")


def describe() -> Machine:
    """This machine, now."""
    return Machine(
        date=dt.datetime.now(dt.UTC).replace(microsecond=0),
        revision=_revision(),
        system=f"{platform.system()} {platform.release()}",
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        load=round(os.getloadavg()[0], 2),
        versions={
            "python": platform.python_version(),
            "nats-server": _said(binary(), "--version").removeprefix("nats-server: v"),
            **{package: _version(package) for package in PACKAGES},
        },
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _revision() -> str:
    here = Path(__file__).parent
    revision = _said("git", "-C", str(here), "rev-parse", "--short", "HEAD")
    changed = _said("git", "-C", str(here), "status", "--porcelain", "--untracked-files=no")
    return revision + ("+" if changed else "")


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
