"""A gateway that is killed under load: what its clients saw, beside what the stream holds."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from uuid import uuid4

from . import figures
from .gateways import Gateway, Http

CLIENTS = 32
KILLS = 3
#: Between a broken connection and the next attempt, in seconds.
RETRY_S = 0.05

#: What a client meets when a gateway ends under it.
BROKEN = (OSError, EOFError)


class Client:
    """Asks and follows as a good client does: whatever breaks, it tries again where it stopped."""

    def __init__(self, address: str, text: str) -> None:
        self._address = address
        self._text = text
        #: Ids of the events that came, by task.
        self.seen: dict[str, list[str]] = {}

    async def run(self, until: asyncio.Event) -> None:
        """One task after the other; ends after the one that runs then."""
        name = uuid4().hex
        for number in count():
            if until.is_set():
                return
            task_id = await self._asked(f"{name}-{number}")
            await follow(self._address, task_id, self.seen.setdefault(task_id, []))

    async def _asked(self, key: str) -> str:
        while True:
            try:
                http = await Http(self._address).open()
                status, task = await http.ask("POST", "/v1/tasks", {"text": self._text}, idempotency_key=key)
                http.close()
                if status in (200, 202):  # 200: answered by now
                    return str(task["task_id"])
            except BROKEN:
                pass
            await asyncio.sleep(RETRY_S)


async def follow(address: str, task_id: str, seen: list[str]) -> None:
    """Adds the ids of a task's events to those that were seen, up to the answer's."""
    name = ""
    while name != "answer":
        try:
            http = await Http(address).open()
            last = {"last_event_id": seen[-1]} if seen else {}
            began = await http.opened(f"/v1/tasks/{task_id}/events", **last)
            while began and name != "answer":
                id_, name = await http.event()
                seen.append(id_)
            http.close()
        except BROKEN:
            pass
        if name != "answer":
            await asyncio.sleep(RETRY_S)


async def measure(door: Gateway, text: str, seconds: float) -> figures.Killed:
    """Load for so long, with kills spread over it; each client's events are then compared with the whole stream."""
    clients, enough = [Client(door.address, text) for _ in range(CLIENTS)], asyncio.Event()
    running = [asyncio.create_task(client.run(enough)) for client in clients]
    away = []
    for _ in range(KILLS):
        await asyncio.sleep(seconds / KILLS)
        began = time.perf_counter()
        await door.kill()
        await door.start()
        away.append(time.perf_counter() - began)
    await asyncio.sleep(seconds / KILLS)
    enough.set()
    await asyncio.gather(*running)
    tasks = lost = doubled = events = 0
    for task_id, seen in (item for client in clients for item in client.seen.items()):
        whole: list[str] = []
        await follow(door.address, task_id, whole)
        tasks, events = tasks + 1, events + len(whole)
        lost += len(set(whole) - set(seen))
        doubled += len(seen) - len(set(seen))
    return figures.Killed(
        kills=KILLS, clients=CLIENTS, tasks=tasks, events=events, lost=lost, doubled=doubled, away_s=round(max(away), 2)
    )
