"""A Ray cluster over several hosts, made by the commands an operator types on each."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from functools import partial
from pathlib import Path

from harness.hosts import Host
from harness.local_team import until
from harness.nats_server import free_port
from metier.cluster.node import ENVIRONMENT

_START_S = 150.0
_ATTEMPTS = 3
_BIN = Path(sys.executable).parent


class RayHosts:
    """`ray start` on each host, `serve deploy` on the head's."""

    def __init__(self, head: Host, folder: Path) -> None:
        self.environment = ENVIRONMENT | {
            # Ray turns this on by itself only where a head starts: all other commands must be told.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "OMP_NUM_THREADS": "1",
            # A node that says nothing is given up soon; by itself, Ray waits for a minute.
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "1000",
        }
        self._folder = folder
        self._head = head
        self._port, self._dashboard = free_port(), free_port()
        self._begin()

    def join(self, host: Host, **resources: float) -> subprocess.Popen[bytes]:
        """One more node, with resources of its own; not waited for. What is returned runs as long as the node does."""
        return self._ray(host, "--address", f"{self._head.address}:{self._port}", "--resources", json.dumps(resources))

    def deploy(self, file: Path) -> None:
        """Gives Serve what `metier build` wrote."""
        self.run("serve", "deploy", str(file), "--address", f"http://127.0.0.1:{self._dashboard}")

    def nodes(self) -> str:
        """A line for each node that there is or was, with its address and its state."""
        return self.run("ray", "list", "nodes", "--address", f"http://127.0.0.1:{self._dashboard}")

    def run(self, program: str, *arguments: str) -> str:
        """What a command of this environment says on the head. Raises RuntimeError if it fails."""
        command = self._head.enter([str(_BIN / program), *arguments])
        env = {**os.environ, **self.environment}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_START_S, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def said(self, host: Host) -> str:
        """What the `ray start` of a host has printed."""
        return (self._folder / f"{host.name}.log").read_text()

    def _begin(self) -> None:
        """Starts the head. Ray gives its own agents 15 s, and fails if they took longer, as on a busy machine."""
        ports = ["--port", str(self._port), "--dashboard-port", str(self._dashboard)]
        for _ in range(_ATTEMPTS):
            node = self._ray(self._head, "--head", *ports)
            until(partial(self._decided, node), _START_S, "the head starts, or says why not")
            if self._runs():
                return
            self._head.kill()  # it leaves processes behind
            self._head.boot()
        raise RuntimeError(self.said(self._head))

    def _decided(self, node: subprocess.Popen[bytes]) -> bool:
        return self._runs() or node.poll() is not None

    def _runs(self) -> bool:
        return "Ray runtime started" in self.said(self._head)

    def _ray(self, host: Host, *arguments: str) -> subprocess.Popen[bytes]:
        room = ["--num-cpus", "1", "--object-store-memory", "80000000"]
        place = ["--node-ip-address", host.address, "--temp-dir", str(self._folder / host.name)]
        command = [str(_BIN / "ray"), "start", "--block", *room, *place, *arguments]
        return host.start(command, self.environment, self._folder / f"{host.name}.log")
