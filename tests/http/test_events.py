"""Events over HTTP: each once, whatever becomes of the gateway or the client."""

from __future__ import annotations

import asyncio
import random
import signal
from functools import partial

import httpx2 as httpx
import msgspec

from harness.gateway import Door, Event, client, events, gateway, open_door, status_is, until
from harness.instant import InstantEngine
from harness.killable import killable
from harness.nats_server import NatsServer
from metier.topics.streams import EVENTS

TASKS = 24


async def test_a_stream_that_is_taken_up_goes_on_where_it_stopped(door: Door) -> None:
    task_id = await door.post("red green blue mixer")
    first = await events(door.http, task_id, count=3)
    rest = await events(door.http, task_id, first[-1].id)
    whole = await events(door.http, task_id)

    assert whole == first + rest
    assert "answer" == rest[-1].name


async def test_another_gateway_goes_on_where_one_stopped(door: Door) -> None:
    task_id = await door.post("red green blue mixer")
    first = await events(door.http, task_id, count=3)
    async with gateway(door.nats.url) as other, client(other) as http:
        rest = await events(http, task_id, first[-1].id)

    assert await events(door.http, task_id) == first + rest


async def test_who_has_seen_the_answer_is_told_not_to_come_back(door: Door) -> None:
    task_id = (await door.ask("red"))["task_id"]
    seen = await events(door.http, task_id)
    reply = await door.http.get(f"/v1/tasks/{task_id}/events", headers={"Last-Event-ID": seen[-1].id})

    assert 204 == reply.status_code


async def test_the_next_turn_has_a_stream_of_its_own(door: Door) -> None:
    door.house.tools["red"].asks = "scarlet"
    task_id = (await door.ask("red"))["task_id"]
    first = await events(door.http, task_id)
    await door.http.post(f"/v1/tasks/{task_id}/input", json={"text": "scarlet"})
    second = await events(door.http, task_id, first[-1].id)

    assert ({1}, {2}) == ({one.data["turn"] for one in first}, {one.data["turn"] for one in second})
    assert "ok" == second[-1].data["status"]


async def test_a_broker_that_forgot_its_events_does_not_hide_the_new_ones(door: Door) -> None:
    task_id = await door.post("red")
    seen = await events(door.http, task_id, "999999")

    assert ("planned", "answer") == (seen[0].name, seen[-1].name)


async def test_a_client_that_vanishes_leaves_nothing_at_the_broker(nats: NatsServer) -> None:
    async with open_door(nats, asleep=("red",)) as door:
        task_id = await door.post("red")
        await events(door.http, task_id, count=1)
        left = await until(partial(_consumers, door), lambda consumers: not consumers)

    assert 0 == left


async def _consumers(door: Door) -> int:
    reply = await door.house.bus._inbox.ask(f"$JS.API.STREAM.INFO.{EVENTS}", b"")  # type: ignore[attr-defined]
    count: int = msgspec.json.decode(reply.data)["state"]["consumer_count"]
    return count


# ── A gateway that is killed ─────────────────────────────────────────────────────────────────────────────────────────


async def watched(http: httpx.AsyncClient, name: str) -> tuple[str, list[Event]]:
    """A task asked for and followed to its answer as a good client does: whatever breaks, it tries again."""
    task_id, seen = "", list[Event]()
    while not (seen and seen[-1].name == "answer"):
        try:
            if not task_id:
                ask = {"text": "red green blue mixer"}
                reply = await http.post("/v1/tasks", json=ask, headers={"Idempotency-Key": name})
                reply.raise_for_status()
                task_id = reply.json()["task_id"]
            seen += await events(http, task_id, seen[-1].id if seen else "", count=1)
        except (httpx.HTTPError, AssertionError):
            await asyncio.sleep(0.1)
    return task_id, seen


async def test_a_gateway_killed_under_load_loses_and_doubles_nothing(door: Door) -> None:
    chance = random.Random(7)
    async with killable("--nats", door.nats.url) as killed:
        address = f"http://127.0.0.1:{killed.port}"
        async with httpx.AsyncClient(base_url=address, timeout=10) as http, asyncio.timeout(100):
            clients = [asyncio.create_task(watched(http, f"order-{number}")) for number in range(TASKS)]
            for _ in range(3):
                await asyncio.sleep(0.2 + chance.random() / 5)
                await killed.kill()
                await killed.start()
            ended = await asyncio.gather(*clients)

    for task_id, seen in ended:
        whole = await events(door.http, task_id)
        assert [one.id for one in whole] == [one.id for one in seen]
    assert TASKS == len({task_id for task_id, _ in ended})
    assert [TASKS] * 4 == [tool.ran for tool in door.house.tools.values()]


async def test_a_gateway_that_is_told_to_end_ends_its_streams_in_order(nats: NatsServer) -> None:
    async with open_door(nats, red=InstantEngine({}, pause_s=30)) as door, killable("--nats", nats.url) as running:
        task_id = await door.post("red")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", timeout=10) as http:
            await until(partial(http.get, "/readyz"), status_is(200))
            async with http.stream("GET", f"/v1/tasks/{task_id}/events") as reply:
                lines = reply.aiter_lines()
                while "event: started" != await anext(lines):
                    pass
                status = await running.kill(signal.SIGTERM)
                rest = [line async for line in lines if line]  # an end, and no broken connection

    assert 0 == status
    assert ["data"] == [line.partition(":")[0] for line in rest]
