"""A team over several hosts, each with its address and its cable: one is cut off, one dies, and each task has one answer."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen

import msgspec
import pytest

from harness.hosts import Host, network
from harness.local_team import ECHO, until
from harness.ray_hosts import RayHosts
from harness.relay import relay
from harness.team_hosts.hosts_team import RUNS, Run
from metier.cluster.cli import run
from metier.cluster.server import binary
from metier.topics.client import Client, connect
from metier.topics.codec import decode, encode
from metier.topics.messages import Answer, Control, Presence, State, Task
from metier.topics.streams import ANSWERS
from metier.topics.subjects import Subjects

PORT = 4222
LIMIT_S = 90.0
START_S = 20.0
#: What the deployed team is: who works on the first host, and who on the second.
FIRST = {"router": 1, "aggregator": 1, "one": 1, "three": 1}
SECOND = {"router": 1, "aggregator": 1, "two": 1, "three": 1}
ALL = Counter(FIRST) + Counter(SECOND)


class Hosts:
    """A head, two hosts that work, a broker, and one from which tasks are asked."""

    def __init__(self, folder: Path, head: Host, first: Host, second: Host, broker: Host) -> None:
        self.folder, self.first, self.second = folder, first, second
        self.url = f"nats://{broker.address}:{PORT}"
        broker.start(
            [str(binary()), "-js", "-a", broker.address, "-p", str(PORT), "-sd", str(folder / "nats")],
            {},
            folder / "nats.log",
        )
        self.ray = RayHosts(head, folder)
        self.nodes: dict[str, Popen[bytes]] = {}
        self.join()

    def join(self) -> None:
        """Both hosts that work are nodes of the cluster, or become it."""
        for host, resources in ((self.first, FIRST), (self.second, SECOND)):
            node = self.nodes.get(host.name)
            if node is None or node.poll() is not None:
                self.nodes[host.name] = self.ray.join(host, **resources)

    def deploy(self) -> None:
        """The team, as a user deploys it."""
        file = self.folder / "serve.yaml"
        assert 0 == run(["build", str(self.folder / "team.yaml"), "--nats", self.url, "--out", str(file)])
        self.ray.deploy(file)

    def ran(self, what: str, host: Host) -> list[str]:
        """The requests that a host's specialists have begun, or ended, in order."""
        file = self.folder / RUNS
        lines = file.read_bytes().splitlines() if file.exists() else []
        runs = [msgspec.json.decode(line, type=Run) for line in lines]
        return [each.text for each in runs if (each.what, each.host) == (what, host.address)]


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Hosts, str]]:
    """The hosts with the team on them, and the broker's address as this process reaches it."""
    folder = Path(tempfile.mkdtemp(prefix="hosts-"))  # a short name: Ray's sockets lie in it
    for file in (*Path(__file__).parents[1].glob("harness/team_hosts/*.*"), ECHO.parent / "echo_team.py"):
        shutil.copy(file, folder)
    try:
        with network() as net:
            head, first, second, broker, outside = (
                net.host(name, number)
                for number, name in enumerate(("head", "first", "second", "broker", "outside"), start=1)
            )
            found = Hosts(folder, head, first, second, broker)
            found.deploy()
            with relay(outside, broker.address, PORT) as port:
                yield found, f"nats://127.0.0.1:{port}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def client(hosts: tuple[Hosts, str]) -> AsyncIterator[Client]:
    there, url = hosts
    async with connect(url, subjects=Subjects("hosts")) as found:
        there.join()
        await complete(found)
        yield found


async def test_a_specialist_works_on_the_host_that_has_its_resource(hosts: tuple[Hosts, str], client: Client) -> None:
    there, _ = hosts

    answers = [await client.ask(f"{name} where", deadline_s=LIMIT_S) for name in ("one", "two")]

    assert [f"one where at {there.first.address}", f"two where at {there.second.address}"] == [a.text for a in answers]


async def test_a_host_that_was_cut_off_for_a_while_answers_nothing_twice(
    hosts: tuple[Hosts, str], client: Client
) -> None:
    there, _ = hosts
    before = await pids(client)
    async with heard(client) as said:
        tasks = [await client.submit(f"three lasts 1 {n}", deadline_s=LIMIT_S) for n in range(30)]
        tasks += [await client.submit(f"one lasts 1 {n}", deadline_s=LIMIT_S) for n in range(10)]
        await holds(lambda: there.ran("began", there.first))
        there.first.cut()
        held = set(there.ran("began", there.first)) - set(there.ran("ended", there.first))
        tasks += [await client.submit(f"three {n} while away", deadline_s=LIMIT_S) for n in range(10)]

        # What the first host had in hand it ends, alone; the second has it from the broker again.
        shared = {text for text in held if text.startswith("three")}
        await holds(lambda: held <= set(there.ran("ended", there.first)))
        await holds(lambda: shared <= set(there.ran("ended", there.second)))
        there.first.heal()

        await one_ok_answer_each(client, tasks, said)
        assert shared
        assert before == await pids(client)


async def complete(client: Client) -> list[Presence]:
    """Waits until there is as many of each actor as there should be."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            replies = await client.bus.request(client.subjects.control("status"), encode(Control(verb="status")), 0.5)
            found = [decode(reply.payload, Presence) for reply in replies]
            if ALL == Counter(presence.actor for presence in found):
                return found


async def pids(client: Client) -> set[str]:
    return {presence.replica for presence in await complete(client)}


async def holds(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, condition, LIMIT_S, "it is so")


@asynccontextmanager
async def heard(client: Client) -> AsyncIterator[list[Answer]]:
    """All answers that are said meanwhile, those that the broker then refuses, too."""
    said: list[Answer] = []

    async def listen() -> None:
        async with client.bus.subscribe(client.subjects.everything("answer")) as words:
            async for word in words:
                said.append(decode(word.payload, Answer, word.headers))

    listening = asyncio.create_task(listen())
    try:
        yield said
    finally:
        listening.cancel()


async def one_ok_answer_each(client: Client, tasks: Sequence[Task], said: Sequence[Answer]) -> None:
    answers = [await client.result(task) for task in tasks]
    assert [State.OK] * len(tasks) == [answer.status for answer in answers], [
        a.text for a in answers if a.status is not State.OK
    ]
    print(len(said), len(tasks))
