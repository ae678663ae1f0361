"""A thousand clients who only watch: no harm to those who ask."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import psutil  # type: ignore[import-untyped]

from harness.gateway import Door, client, open_door, until
from harness.killable import killable
from harness.nats_server import NatsServer
from metier.topics.streams import EVENTS

CROWD = 1000
MEMORY_MB = 300
ASKED = 50
#: Clients that come at once.
TOGETHER = 50


@asynccontextmanager
async def crowd(port: int, task_id: str) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Streams of one task's events, all open."""
    request = f"GET /v1/tasks/{task_id}/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
    writers: list[asyncio.StreamWriter] = []

    async def come() -> asyncio.StreamReader:
        """As a good client: who is told that the bus is slow now comes again."""
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            status = (await reader.readuntil(b"\r\n\r\n"))[9:12]
            if status == b"200":
                writers.append(writer)
                return reader
            assert status == b"503", status
            writer.close()
            await asyncio.sleep(0.5)

    try:
        yield [
            one for _ in range(CROWD // TOGETHER) for one in await asyncio.gather(*(come() for _ in range(TOGETHER)))
        ]
    finally:
        for writer in writers:
            writer.close()


async def test_a_thousand_idle_streams_do_no_harm_and_leave_nothing(nats: NatsServer) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2 * CROWD
    async with open_door(nats, asleep=("red",)) as door, killable("--nats", nats.url) as watched:
        assert watched.process
        gateway = psutil.Process(watched.process.pid)
        idle = await door.post("red", deadline_s=600)
        async with client(f"http://127.0.0.1:{watched.port}") as http, crowd(watched.port, idle):
            asked = [await http.post("/v1/tasks?wait_s=5", json={"text": "green"}) for _ in range(ASKED)]
            memory_mb = gateway.memory_info().rss / 1e6
            open_ = await consumers(door)
        left = await until(partial(consumers, door), lambda count: not count)

    assert {"ok"} == {reply.json()["status"] for reply in asked}
    assert CROWD == open_
    assert memory_mb < MEMORY_MB
    assert 0 == left


async def test_an_answer_reaches_the_whole_crowd(nats: NatsServer) -> None:
    async with open_door(nats, asleep=("red",)) as door, killable("--nats", nats.url) as watched:
        task_id = await door.post("red", deadline_s=600)
        async with client(f"http://127.0.0.1:{watched.port}"), crowd(watched.port, task_id) as readers:
            await door.http.delete(f"/v1/tasks/{task_id}")
            async with asyncio.timeout(60):
                ends = await asyncio.gather(*(reader.readuntil(b"event: answer") for reader in readers))

    assert CROWD == len(ends)


async def consumers(door: Door) -> int:
    """How many the broker's stream of events has."""
    reply = await door.house.bus._inbox.ask(f"$JS.API.STREAM.INFO.{EVENTS}", b"")  # type: ignore[attr-defined]
    count: int = msgspec.json.decode(reply.data)["state"]["consumer_count"]
    return count
