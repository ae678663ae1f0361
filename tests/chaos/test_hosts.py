"""A team over several hosts: whichever loses its cable or its power, an accepted task has exactly one answer."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.hosts import network
from harness.spread_team import ALL, Spread
from metier.topics.client import Client, connect
from metier.topics.codec import decode, encode
from metier.topics.ending import end
from metier.topics.messages import Answer, Control, Presence, State, Task
from metier.topics.streams import ANSWERS
from metier.topics.subjects import Subjects

#: Three nodes of Ray's share this machine.
pytestmark = pytest.mark.timeout(600)

LIMIT_S = 150.0
#: How long a test waits between two looks.
LOOK_S = 0.05


@pytest.fixture(scope="module")
def team(request: pytest.FixtureRequest) -> Iterator[Spread]:
    folder = Path(tempfile.mkdtemp(prefix="hosts-"))  # a short name: Ray's sockets lie in it
    try:
        with network() as net:
            capture: Any = request.config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled():
                print(f"hosts are {net.kind} ", end="", flush=True)
            with Spread(net, folder).running() as found:
                yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def client(team: Spread) -> AsyncIterator[Client]:
    async with connect(team.url, subjects=Subjects("hosts")) as found:
        await complete(team, found)
        yield found


async def test_a_specialist_works_on_the_host_that_has_its_resource(team: Spread, client: Client) -> None:
    answers = [await client.ask(f"{name} where", deadline_s=LIMIT_S) for name in ("one", "two")]

    assert [f"one where at {team.first.address}", f"two where at {team.second.address}"] == [a.text for a in answers]


async def test_a_host_that_comes_back_with_what_it_did_alone_answers_nothing_twice(
    team: Spread, client: Client
) -> None:
    async with heard(client) as said:
        tasks = [await client.submit(f"three lasts 1, comes back {n}", deadline_s=LIMIT_S) for n in range(30)]
        tasks += [await client.submit(f"one lasts 1, comes back {n}", deadline_s=LIMIT_S) for n in range(10)]
        await holds(lambda: team.ran("began", team.first, "three") and team.ran("began", team.first, "one"))

        team.first.cut()
        alone = {text for name in ("one", "three") for text in team.holds(team.first, name)}
        twice = team.holds(team.first, "three")
        tasks += [await client.submit(f"three while it is away, comes back {n}", deadline_s=LIMIT_S) for n in range(10)]
        await holds(lambda: twice <= team.ran("ended", team.second, "three"))
        if team.first.works_alone:
            await holds(lambda: alone <= team.ran("ended", team.first, "one") | team.ran("ended", team.first, "three"))
        team.first.heal()
        await fresh(client)

        assert twice
        await one_answer_each(client, said, dict.fromkeys(tasks, State.OK))


async def test_a_host_that_ray_has_given_up_answers_nothing_twice_and_joins_again(team: Spread, client: Client) -> None:
    async with heard(client) as said:
        tasks = [
            await client.submit(f"{name} lasts 1, given up {n}", deadline_s=LIMIT_S)
            for n in range(15)
            for name in ("one", "three")
        ]
        await holds(lambda: team.ran("began", team.first, "three"))

        team.first.cut()
        late = await client.ask("one, at once", deadline_s=5)
        tasks += [await client.submit(f"three meanwhile, given up {n}", deadline_s=LIMIT_S) for n in range(20)]
        await holds(lambda: team.given_up(team.first))
        team.first.heal()
        await holds(lambda: not team.is_node(team.first))
        await complete(team, client)
        await fresh(client)

        await one_answer_each(client, said, dict.fromkeys(tasks, State.OK) | {late.task_id: State.EXPIRED})


async def test_a_host_that_loses_its_power_leaves_its_work_to_the_others_or_to_its_next_life(
    team: Spread, client: Client
) -> None:
    async with heard(client) as said:
        tasks = [
            await client.submit(f"{name} lasts 1, no power {n}", deadline_s=LIMIT_S)
            for n in range(15)
            for name in ("two", "three")
        ]
        await holds(lambda: team.ran("began", team.second, "three"))

        team.second.kill()
        late = await client.ask("two, at once", deadline_s=5)
        tasks += [await client.submit(f"three without it, no power {n}", deadline_s=LIMIT_S) for n in range(10)]
        team.second.boot()
        await complete(team, client)
        await fresh(client)

        await one_answer_each(client, said, dict.fromkeys(tasks, State.OK) | {late.task_id: State.EXPIRED})


async def test_a_broker_that_was_cut_off_for_a_while_loses_and_repeats_no_answer(team: Spread, client: Client) -> None:
    async with heard(client) as said:
        tasks = [
            await client.submit(f"{name} lasts 2, no broker {n}", deadline_s=LIMIT_S)
            for n in range(10)
            for name in ("one", "two", "three")
        ]
        await holds(lambda: team.ran("began", team.first, "one") and team.ran("began", team.second, "two"))

        team.broker.cut()
        alone = team.holds(team.first, "one")
        assert alone
        await holds(lambda: alone <= team.ran("ended", team.first, "one"))
        team.broker.heal()
        await fresh(client)

        await one_answer_each(client, said, dict.fromkeys(tasks, State.OK))


async def complete(team: Spread, client: Client) -> None:
    """Waits until there are as many of each actor as there should be. A host that is no node of Ray's becomes one."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            team.join()
            replies = await client.bus.request(client.subjects.control("status"), encode(Control(verb="status")), 0.5)
            if ALL == Counter(decode(reply.payload, Presence).actor for reply in replies):
                return


async def holds(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_S)


async def fresh(client: Client) -> None:
    """Whoever is asked now, answers."""
    answers = [await client.ask(f"{name}, are you there?", deadline_s=LIMIT_S) for name in ("one", "two", "three")]
    assert [State.OK] * 3 == [answer.status for answer in answers]


@asynccontextmanager
async def heard(client: Client) -> AsyncIterator[list[Answer]]:
    """All answers that are said meanwhile, those, too, that the broker then refuses to keep."""
    said: list[Answer] = []

    async def listen() -> None:
        async with client.bus.subscribe(client.subjects.everything("answer")) as words:
            async for word in words:
                said.append(decode(word.payload, Answer, word.headers))  # noqa: PERF401 - it is cancelled at last

    listening = asyncio.create_task(listen())
    try:
        yield said
    finally:
        await end(listening)


async def one_answer_each(client: Client, said: Sequence[Answer], expected: dict[Task | str, State]) -> None:
    """Each task has the answer that is expected, once; and whoever listened heard that one first."""
    statuses = {task if isinstance(task, str) else task.task_id: status for task, status in expected.items()}
    for task in expected:
        await client.result(task)
    found = [answer for answer in await kept(client) if answer.task_id in statuses]
    assert Counter(statuses.keys()) == Counter(answer.task_id for answer in found)
    assert statuses == {answer.task_id: answer.status for answer in found}
    first: dict[str, Answer] = {}
    for answer in said:
        first.setdefault(answer.task_id, answer)
    assert found == [first[answer.task_id] for answer in found]


async def kept(client: Client) -> list[Answer]:
    """All answers that the broker keeps."""
    stream = client.subjects.stream(ANSWERS)
    async with client.bus.replay(stream, client.subjects.everything("answer")) as stored:
        count = await client.bus.messages(stream)
        words = [await anext(stored) for _ in range(count)]
    return [decode(word.payload, Answer, word.headers) for word in words]
