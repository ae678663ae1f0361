"""Hosts as addresses of loopback, for who may not make namespaces (`hosts.py`): one is cut off by stopping it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from metier.cluster import processes

#: Tells the processes of a host, whoever their parent is now.
_MARK = "METIER_TEST_HOST"
_END_S = 20.0


class Address:
    """A host that shares all with this machine but its address."""

    works_alone = False

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = f"127.0.77.{number}"
        self._mark = secrets.token_hex(8)
        self._started: list[subprocess.Popen[bytes]] = []
        self._seen: set[psutil.Process] = set()

    def boot(self) -> None:
        """There is nothing to switch on."""

    def start(self, command: Sequence[str], environment: Mapping[str, str], said: Path) -> subprocess.Popen[bytes]:
        env = {**os.environ, **environment, _MARK: self._mark}
        with said.open("ab") as out:
            process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._started.append(process)
        return process

    def enter(self, command: Sequence[str]) -> list[str]:
        return ["env", f"{_MARK}={self._mark}", *command]

    def cut(self) -> None:
        self._signal(signal.SIGSTOP)

    def heal(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        for process in self._started:
            process.wait(_END_S)
        psutil.wait_procs(self._seen, timeout=_END_S)
        self._started.clear()
        self._seen.clear()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _processes(self) -> list[psutil.Process]:
        """All of it that runs. Some of Ray's write over their environment: they are known by their parents."""
        started = {process.pid for process in self._started}
        for pid in started | {process.pid for process in processes.told(_MARK, self._mark)}:
            try:
                found = psutil.Process(pid)
                self._seen |= {found, *found.children(recursive=True)}
            except psutil.NoSuchProcess:
                continue
        return [process for process in self._seen if process.is_running()]


class LoopbackNetwork:
    """Hosts that need nobody's permission."""

    def __init__(self, why: str) -> None:
        self.kind = f"addresses of loopback, and who is cut off is stopped; for namespaces: {why}"
        self._hosts: list[Address] = []

    def host(self, name: str, number: int) -> Address:
        found = Address(name, number)
        self._hosts.append(found)
        return found

    def end(self) -> None:
        for host in self._hosts:
            host.kill()
