"""The HTTP door in this process, on a free port, before a house of instant models on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2 as httpx
import msgspec

from harness.house import FILE, SUBJECTS, House, open_house
from harness.nats_server import NatsServer
from metier.cluster.gateway import server
from metier.cluster.gateway.settings import Gateway
from metier.cluster.team import Team, read
from metier.topics import jetstream

T = TypeVar("T")

LIMIT_S = 10.0


class Event(msgspec.Struct, frozen=True):
    """One server-sent event as it came."""

    id: str
    name: str
    data: dict[str, Any]


def team(folder: Path) -> Team:
    """The house as a team file says it."""
    file = folder / "team.yaml"
    file.write_text(FILE)
    return read(file)


async def until(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """What is seen once it is enough."""
    async with asyncio.timeout(2 * LIMIT_S):
        while not enough(found := await look()):  # noqa: ASYNC110 - what is across a network sets no events here
            await asyncio.sleep(0.02)
        return found


def status_is(status: int) -> Callable[[httpx.Response], bool]:
    """Whether a reply has a status."""
    return lambda reply: reply.status_code == status


@asynccontextmanager
async def gateway(url: str, settings: Gateway = Gateway(port=0), team: Team | None = None) -> AsyncIterator[str]:  # noqa: B008
    """Its address; it is ready."""
    listener = server.listener(settings)
    app = server.door(url, SUBJECTS, settings, team)
    listening = asyncio.Event()
    running = server.Server(app, listening.set)
    serving = asyncio.create_task(running.serve([listener]))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with asyncio.timeout(LIMIT_S):
            await listening.wait()
        yield address
    finally:
        running.close()
        await serving


@asynccontextmanager
async def client(address: str, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that has found its bus."""
    async with httpx.AsyncClient(base_url=address, timeout=LIMIT_S, **options) as http:
        await until(partial(http.get, "/readyz"), status_is(200))
        yield http


class Door:
    """A house with a door."""

    def __init__(self, house: House, http: httpx.AsyncClient, address: str, nats: NatsServer) -> None:
        self.house = house
        self.http = http
        self.address = address
        self.nats = nats

    async def ask(self, text: str, **options: Any) -> Any:
        """A task that has its answer."""
        reply = await self.http.post("/v1/tasks?wait_s=5", json={"text": text, **options})
        assert 200 == reply.status_code, reply.text
        return reply.json()

    async def post(self, text: str, **options: Any) -> str:
        """A task that is accepted."""
        reply = await self.http.post("/v1/tasks", json={"text": text, **options})
        assert 202 == reply.status_code, reply.text
        task_id: str = reply.json()["task_id"]
        return task_id


@asynccontextmanager
async def open_door(
    nats: NatsServer,
    settings: Gateway = Gateway(port=0),  # noqa: B008 - a frozen struct
    team: Team | None = None,
    **house: Any,
) -> AsyncIterator[Door]:
    """House, door and client."""
    async with (
        jetstream.connect(nats.url, name="house", subjects=SUBJECTS) as bus,
        open_house(bus, **house) as running,
        gateway(nats.url, settings, team) as address,
        client(address) as http,
    ):
        yield Door(running, http, address, nats)


async def events(http: httpx.AsyncClient, task_id: str, last: str = "", count: int = 0) -> list[Event]:
    """What a stream says until it ends, or until so many events came."""
    found: list[Event] = []
    headers = {"Last-Event-ID": last} if last else {}
    async with http.stream("GET", f"/v1/tasks/{task_id}/events", headers=headers) as reply:
        if reply.status_code == 204:
            return found
        assert 200 == reply.status_code, await reply.aread()
        fields: dict[str, str] = {}
        async for line in reply.aiter_lines():
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                found.append(Event(fields.get("id", ""), fields["event"], msgspec.json.decode(fields["data"])))
                fields = {}
                if len(found) == count:
                    break
    return found
