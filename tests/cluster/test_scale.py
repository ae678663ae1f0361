"""One specialist is flooded: it grows alone, shrinks again to nothing, and no run is lost or repeated."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from metier.cluster.sizing import Decision, decision_key
from metier.topics.client import Client
from metier.topics.codec import decode, encode
from metier.topics.messages import Control, Presence, State, Task, Usage
from metier.topics.streams import SUBTASKS, USAGE, Consumer

#: A replica starts within some seconds on a busy machine; one is given up 30 s after the work that needed it.
START_S, SHRINK_S = 45.0, 90.0
FLOOD = 60
#: Three replicas do six a second: it lasts longer than Serve waits before it gives one up.
SATURATION, DOWNSCALE_S = 270, 32.0


async def test_a_flooded_specialist_grows_alone_and_shrinks_to_nothing_and_repeats_no_run(
    elastic_client: Client,
) -> None:
    client = elastic_client
    at_rest = await replicas(client)
    assert 0 == at_rest["two"]

    assert State.OK is (await client.ask("two", deadline_s=START_S)).status

    flood = [await client.submit("slow 0.5 two", deadline_s=300) for _ in range(FLOOD)]
    grown = await until(client, lambda found: 3 == found["two"], START_S)
    assert State.OK is (await client.ask("one three", deadline_s=5)).status
    assert {name: count for name, count in at_rest.items() if name != "two"} == {
        name: count for name, count in grown.items() if name != "two"
    }
    assert FLOOD == len(await answered(client, flood))

    # Work for one replica, never ending, while two others go.
    trickle: list[Task] = []
    async with asyncio.timeout(SHRINK_S):
        while (await replicas(client))["two"] > 1:
            trickle.append(await client.submit("slow 0.5 two", deadline_s=60))
            await asyncio.sleep(0.5)
    assert len(trickle) == len(await answered(client, trickle))

    await until(client, lambda found: not found["two"], SHRINK_S)
    runs = await usage(client, "two", 1 + FLOOD + len(trickle))
    assert {task.task_id for task in flood + trickle} <= runs.keys()
    assert {1} == set(runs.values())


async def test_a_saturated_specialist_is_never_scaled_down(elastic_client: Client) -> None:
    client = elastic_client
    two = Consumer(
        stream=client.subjects.stream(SUBTASKS), name="two", subject=client.subjects.subtasks("two"), laned=True
    )
    flood = [await client.submit("slow 0.5 two", deadline_s=300) for _ in range(SATURATION)]
    await until(client, lambda found: 3 == found["two"], START_S)
    began, seen, decided, last = time.monotonic(), set(), set(), set()
    while (await client.bus.lag(two)).waiting > 3:
        entry = await client.bus.read(decision_key("two"))
        decided.add(msgspec.json.decode(entry.value, type=Decision).replicas if entry else 0)
        last = {presence.replica for presence in await present(client) if presence.actor == "two"}
        seen |= last
    lasted_s = time.monotonic() - began
    async with asyncio.timeout(START_S):  # on a busy machine one may be late with its word
        while last != seen:
            last |= {presence.replica for presence in await present(client) if presence.actor == "two"} & seen

    assert DOWNSCALE_S < lasted_s
    # None was given up, and so none was replaced.
    assert ({3}, 3) == (decided, len(seen))
    assert SATURATION == len(await answered(client, flood))


async def present(client: Client) -> list[Presence]:
    """The replicas that say that they are there."""
    replies = await client.bus.request(client.subjects.control("status"), encode(Control(verb="status")), 0.5)
    return [decode(reply.payload, Presence) for reply in replies]


async def replicas(client: Client) -> Counter[str]:
    """How many replicas of each actor say that they are there."""
    return Counter(presence.actor for presence in await present(client))


async def until(client: Client, wanted: Callable[[Counter[str]], bool], limit_s: float) -> Counter[str]:
    async with asyncio.timeout(limit_s):
        while not wanted(found := await replicas(client)):
            pass
    return found


async def answered(client: Client, tasks: list[Task]) -> list[Task]:
    """The tasks that ended well."""
    answers = await asyncio.gather(*(client.result(task) for task in tasks))
    return [task for task, answer in zip(tasks, answers, strict=True) if answer.status is State.OK]


async def usage(client: Client, name: str, count: int) -> Counter[str]:
    """How often a specialist ran for each task, once that many runs were told of."""
    runs: Counter[str] = Counter()
    async with (
        asyncio.timeout(5),
        client.bus.replay(client.subjects.stream(USAGE), client.subjects.usage(name)) as told,
    ):
        async for received in told:
            runs[decode(received.payload, Usage, received.headers).task_id] += 1
            if runs.total() == count:
                return runs
    return runs
