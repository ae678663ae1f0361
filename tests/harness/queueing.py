"""One specialist with a queue before it, and the order in which it works."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from metier.actors.actor import Actor
from metier.actors.loop import Loop
from metier.actors.specialist import Specialist
from metier.actors.tools.base import Offer, Outcome, Request
from metier.topics.bus import Bus
from metier.topics.messages import Class, Context, Subtask
from metier.topics.outbox import Outbox
from metier.topics.streams import Consumer, streams
from metier.topics.subjects import Subjects

from .instant import InstantEngine

#: Tenants of different shares.
ACME, OTHER = "acme", "zoe"
LIMIT_S = 30.0


class Worklist:
    """A tool that keeps the order of what it was asked, and holds its first call until it is told to go on."""

    name = "worklist"

    def __init__(self, until: int) -> None:
        self.texts: list[str] = []
        self.at_once = self.most_at_once = 0
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.done = asyncio.Event()
        self._until = until

    def offer(self, request: Request) -> Offer | None:
        return Offer(name=self.name, schema={"type": "object"}, brief="worklist()")

    async def call(self, said: Mapping[str, object], request: Request) -> Outcome:
        self.texts.append(request.text)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.set()
        await self.go_on.wait()
        await asyncio.sleep(0)
        self.at_once -= 1
        if len(self.texts) >= self._until:
            self.done.set()
        return Outcome(text="", data=None, arguments={})

    async def close(self) -> None: ...


def specialist(consumer: Consumer, tool: Worklist, concurrency: int) -> Specialist:
    return Specialist(
        name="flights",
        consumer=consumer,
        concurrency=concurrency,
        engine=InstantEngine({}),
        tools=[tool],
        least_confidence=0.0,
    )


@asynccontextmanager
async def working(actor: Actor, bus: Bus, subjects: Subjects) -> AsyncIterator[Loop]:
    loop = Loop(actor, bus, subjects)
    await bus.ensure(streams(subjects), [actor.consumer])
    running = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        await loop.stop(1.0)
        await running


def subtask(text: str, class_: Class = Class.INTERACTIVE, tenant: str = ACME) -> Subtask:
    return Subtask(
        task_id=text,
        tenant=tenant,
        turn=1,
        node="flights",
        specialist="flights",
        text=text,
        context=Context(),
        deadline=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=300),
        class_=class_,
    )


async def publish(bus: Bus, subjects: Subjects, subtasks: Sequence[Subtask]) -> None:
    await Outbox(bus, subjects).send(subtasks)
