"""`serve deploy` of what `metier build` writes, on two nodes: changed in place, replaced, and losing a node."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from harness.local_team import ECHO, answers
from harness.nats_server import nats_server
from harness.ray_nodes import Cluster, ray_cluster
from metier.cluster.cli import run
from metier.topics.client import Client, connect
from metier.topics.codec import decode, encode
from metier.topics.messages import Control, Presence, State
from metier.topics.subjects import Subjects

ONE = "one: {about: Says it again.,"
TWO = ONE.replace("one", "two")
TEAM = f"""\
name: nodes
root: nodes
models:
  own: {{engine: "echo_team:EchoEngine", shows: echo, placement: inside}}
  words: {{engine: "echo_team:WordEncoder", shows: words, placement: inside}}
router: {{model: words, heads: none}}
specialists:
  {ONE} model: own, tools: ["echo_team:repeat"]}}
  {TWO} model: own, tools: ["echo_team:repeat"], resources: {{custom: {{kitchen: 1}}}}}}
escalation:
  large: {{model: own, stand_in: true, local: true}}
durability: {{ack_wait_s: 1.5}}
"""
ACTORS = {"router", "one", "two", "large", "aggregator"}
LIMIT_S = 60.0


class Deployed:
    """The team on its cluster."""

    def __init__(self, cluster: Cluster, kitchen: psutil.Process, folder: Path, nats_url: str) -> None:
        self.cluster = cluster
        #: The node that has what `two` needs.
        self.kitchen = kitchen
        self.nats_url = nats_url
        self._folder = folder

    def deploy(self, text: str = TEAM) -> None:
        """The team file with this text, built and deployed."""
        team, built = self._folder / "team.yaml", self._folder / "serve.yaml"
        team.write_text(text)
        assert 0 == run(["build", str(team), "--nats", self.nats_url, "--out", str(built)])
        self.cluster.deploy(built)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deploy")
    shutil.copy(ECHO.parent / "echo_team.py", folder)
    with nats_server(folder) as server, ray_cluster() as cluster:
        cluster.head()
        team = Deployed(cluster, cluster.node(kitchen=1), folder, server.url)
        team.deploy()
        yield team


@pytest.fixture
async def client(deployed: Deployed) -> AsyncIterator[Client]:
    async with connect(deployed.nats_url, subjects=Subjects("nodes")) as found:
        await settled(found, ACTORS)
        yield found


async def settled(client: Client, names: set[str]) -> dict[str, Presence]:
    """The one replica of each actor, once there is one of each of these."""
    control = encode(Control(verb="status"))
    async with asyncio.timeout(LIMIT_S):
        while True:
            replies = await client.bus.request(client.subjects.control("status"), control, 0.5)
            found = [decode(reply.payload, Presence) for reply in replies]
            if sorted(names) == sorted(presence.actor for presence in found):
                return {presence.actor: presence for presence in found}


async def changed(client: Client, name: str, before: Presence) -> dict[str, Presence]:
    """All replicas once an actor works anew: in the same process, or in another."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            now = await settled(client, ACTORS)
            if now[name].replica != before.replica:
                return now


def pids(presences: dict[str, Presence]) -> dict[str, int]:
    return {name: presence.pid for name, presence in presences.items()}


async def test_a_changed_threshold_and_bound_reach_a_running_replica_and_touch_no_other(
    deployed: Deployed, client: Client
) -> None:
    before = await settled(client, ACTORS)
    assert () == (await client.ask("one sure 0.4", deadline_s=LIMIT_S)).notes

    deployed.deploy(TEAM.replace(ONE, f"{ONE} confidence: 0.9, replicas: {{max: 2}},"))
    after = await changed(client, "one", before["one"])

    assert pids(before) == pids(after)
    assert {"one"} == {name for name in ACTORS if after[name].replica != before[name].replica}
    (note,) = (await client.ask("one sure 0.4", deadline_s=LIMIT_S)).notes
    assert "stands in" in note or "in its place" in note


async def test_an_update_of_one_specialist_replaces_its_replica_and_no_other(
    deployed: Deployed, client: Client
) -> None:
    before = await settled(client, ACTORS)
    asked = [await client.submit(f"one slow 0.5 {number}", deadline_s=LIMIT_S) for number in range(8)]

    deployed.deploy(TEAM.replace(ONE, f"{ONE} concurrency: 4,"))
    after = await changed(client, "one", before["one"])

    assert {"one"} == {name for name in ACTORS if after[name].pid != before[name].pid}
    assert [State.OK] * 8 == [(await client.result(task)).status for task in asked]


async def test_a_specialist_runs_where_its_resource_is_and_outlives_the_node(
    deployed: Deployed, client: Client
) -> None:
    before = await settled(client, ACTORS)
    there = {process.pid for process in deployed.cluster.processes(deployed.kitchen)}
    assert {"two"} <= {name for name, presence in before.items() if presence.pid in there}
    stood = await answers(client, 0)
    asked = [await client.submit(f"one two slow 0.2 {number}", deadline_s=LIMIT_S) for number in range(12)]

    # In the middle of an update, which Serve by itself would then give up.
    deployed.deploy(TEAM.replace(TWO, f"{TWO} concurrency: 4,"))
    deployed.cluster.kill(deployed.kitchen)
    asked += [await client.submit(f"two {number}", deadline_s=LIMIT_S) for number in range(4)]
    deployed.kitchen = deployed.cluster.node(kitchen=1)

    results = [await client.result(task) for task in asked]
    assert [State.OK] * 16 == [answer.status for answer in results]
    assert stood + 16 == await answers(client, stood + 16)
    assert before["two"].pid != (await settled(client, ACTORS))["two"].pid


async def test_ask_finds_a_team_elsewhere_by_its_broker(
    deployed: Deployed, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    team = str(deployed._folder / "team.yaml")
    command = ["ask", "--nats", deployed.nats_url, "--team", team, "--json", "two once more"]

    assert 0 == await asyncio.to_thread(run, command)
    assert '"text":"two once more"' in capsys.readouterr().out
