"""A Ray cluster of several nodes on this machine, made by the commands an operator types."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from harness.local_team import until
from harness.nats_server import free_port
from metier.cluster import processes
from metier.cluster.node import ENVIRONMENT

_START_S = 60.0
_BIN = Path(sys.executable).parent


class Cluster:
    """`ray start` for each node, `serve deploy` for what runs on them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port, self._dashboard = free_port(), free_port()
        self._environment = ENVIRONMENT | {
            # Ray turns this on by itself only where a head starts: all other commands must be told.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "OMP_NUM_THREADS": "1",
        }
        self._nodes: list[psutil.Process] = []
        self._seen: set[psutil.Process] = set()

    def head(self) -> psutil.Process:
        """The first node, once others can join it."""
        where = ["--head", "--port", str(self._port), "--temp-dir", str(self._directory)]
        started = self._start(*where, "--dashboard-port", str(self._dashboard))
        until(self._joinable, _START_S, f"the head starts; it said: {self.said}")
        return started

    def node(self, **resources: float) -> psutil.Process:
        """One more node, with resources of its own; not waited for."""
        return self._start("--address", f"127.0.0.1:{self._port}", "--resources", json.dumps(resources))

    def deploy(self, file: Path) -> None:
        """Gives Serve what `metier build` wrote."""
        command = [str(_BIN / "serve"), "deploy", str(file), "--address", f"http://127.0.0.1:{self._dashboard}"]
        done = subprocess.run(command, env=self._env(), capture_output=True, text=True, timeout=_START_S, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def processes(self, node: psutil.Process) -> set[psutil.Process]:
        """All processes of a node."""
        found = {node, *node.children(recursive=True)}
        self._seen |= found
        return found

    def kill(self, node: psutil.Process) -> None:
        """Ends a node as a power cut would."""
        for process in self.processes(node):
            process.kill()

    def end(self) -> None:
        """Ends all of it; Ray's agents have no parent left once their raylet has died."""
        for node in self._nodes:
            if node.is_running():
                self.processes(node)
        token = self._environment["RAY_AUTH_TOKEN"]
        orphans = [psutil.Process(found.pid) for found in processes.told("RAY_AUTH_TOKEN", token)]
        left = {process for process in {*self._seen, *orphans} if process.is_running()}
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)

    @property
    def said(self) -> str:
        """What the nodes' commands printed."""
        return (self._directory / "said").read_text()

    def _start(self, *arguments: str) -> psutil.Process:
        command = [str(_BIN / "ray"), "start", "--block", "--num-cpus", "2", "--object-store-memory", "80000000"]
        with (self._directory / "said").open("ab") as said:
            node = psutil.Popen([*command, *arguments], env=self._env(), stdout=said, stderr=said)
        self._nodes.append(node)
        return node

    def _joinable(self) -> bool:
        with socket.socket() as probe:
            return not probe.connect_ex(("127.0.0.1", self._port)) and "Ray runtime started" in self.said

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self._environment}


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """A cluster, ended however the test ends. Its folder has a short name: Ray's sockets lie in it."""
    directory = Path(tempfile.mkdtemp(prefix="ray-"))
    cluster = Cluster(directory)
    try:
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(directory, ignore_errors=True)
