"""A team spread over hosts: a head, two that work, a broker, and one from which tasks are asked."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import msgspec

from harness.hosts import Host, Network
from harness.local_team import ECHO
from harness.ray_hosts import RayHosts
from harness.relay import relay
from harness.team_hosts.hosts_team import RUNS, Run
from metier.cluster.cli import run
from metier.cluster.server import binary

PORT = 4222
#: Who works on the first host, and who on the second: each replica takes one of a resource of its actor's name.
FIRST = {"router": 1, "aggregator": 1, "one": 1, "three": 1}
SECOND = {"router": 1, "aggregator": 1, "two": 1, "three": 1}
ALL = Counter(FIRST) + Counter(SECOND)


class Spread:
    """`team_hosts/team.yaml` where its resources say."""

    def __init__(self, net: Network, folder: Path) -> None:
        names = ("head", "first", "second", "broker", "outside")
        self._head, self.first, self.second, self.broker, self._outside = (
            net.host(name, number) for number, name in enumerate(names, start=1)
        )
        self._folder = folder
        self._nodes: dict[str, Popen[bytes]] = {}
        #: The broker as this process reaches it, by way of the host outside.
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[Spread]:
        """Deployed as a user deploys it; not waited for."""
        for file in (*ECHO.parent.with_name("team_hosts").glob("*.*"), ECHO.parent / "echo_team.py"):
            shutil.copy(file, self._folder)
        where = ["-a", self.broker.address, "-p", str(PORT), "-sd", str(self._folder / "nats")]
        self.broker.start([str(binary()), "-js", *where], {}, self._folder / "broker.log")
        self._ray = RayHosts(self._head, self._folder)
        self.join()
        self._deploy()
        with relay(self._outside, self.broker.address, PORT) as port:
            self.url = f"nats://127.0.0.1:{port}"
            yield self

    def join(self) -> None:
        """The hosts that work become nodes of the cluster, where they are none."""
        for host, resources in ((self.first, FIRST), (self.second, SECOND)):
            if not self.is_node(host):
                self._nodes[host.name] = self._ray.join(host, **resources)

    def is_node(self, host: Host) -> bool:
        """Whether its `ray start` runs."""
        return host.name in self._nodes and self._nodes[host.name].poll() is None

    def given_up(self, host: Host) -> bool:
        """Whether Ray takes the node on a host for dead."""
        return not any(host.address in line and "ALIVE" in line for line in self._ray.nodes().splitlines())

    def ran(self, what: str, host: Host, specialist: str) -> set[str]:
        """The requests that a specialist on a host has begun, or ended."""
        file = self._folder / RUNS
        lines = file.read_bytes().splitlines() if file.exists() else []
        runs = [msgspec.json.decode(line, type=Run) for line in lines]
        here = [each.text for each in runs if (each.what, each.host) == (what, host.address)]
        return {text for text in here if text.startswith(specialist)}

    def holds(self, host: Host, specialist: str) -> set[str]:
        """The requests that it is at."""
        return self.ran("began", host, specialist) - self.ran("ended", host, specialist)

    def _deploy(self) -> None:
        team, file = self._folder / "team.yaml", self._folder / "serve.yaml"
        url = f"nats://{self.broker.address}:{PORT}"
        assert 0 == run(["build", str(team), "--nats", url, "--out", str(file)])
        self._ray.deploy(file)
