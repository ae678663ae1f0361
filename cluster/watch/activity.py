"""A tenant's tasks as they go on, whoever asked them: the newest, and how many there are."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from metier.topics.bus import Bus, Received
from metier.topics.client import GRACE_S
from metier.topics.codec import decode
from metier.topics.errors import InvalidMessage
from metier.topics.messages import Answer, Event, Task
from metier.topics.subjects import Subjects

Take = Callable[[Received], None]

#: Tasks that are remembered, and those that are shown, the newest of them.
REMEMBERED, SHOWN = 5_000, 40
#: How much of a task's text is shown.
TEXT_LIMIT = 120
#: What a task whose own words were not heard is given to end.
DEADLINE_S = 30.0


class Doing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One task."""

    task_id: str
    turn: int = 1
    text: str = ""
    #: "running", or how it ended.
    status: str = "running"
    #: Seconds since 1970: when it was first heard of, and when it ended.
    at: float
    ended: float | None = None
    nodes: int = 0
    done: int = 0
    #: Who works on it now.
    working: list[str] = []


class Activity(msgspec.Struct, kw_only=True):
    """All of them at one moment, as far as they were heard of since somebody watches."""

    running: int
    ended: int
    tasks: list[Doing]


class Ear:
    """Listens to one tenant's tasks, events and answers on the bus, and keeps count."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._tasks: OrderedDict[str, Doing] = OrderedDict()
        self._until: dict[str, float] = {}
        self._ended = 0
        self._changed = True

    async def listen(self, bus: Bus, subjects: Subjects) -> None:
        """Until cancelled. What is not heard is not counted: nothing here is a promise."""
        async with asyncio.TaskGroup() as group:
            for kind, take in (("task", self._task), ("event", self._event), ("answer", self._answer)):
                group.create_task(self._hear(bus, subjects.everything(f"{kind}.{self._tenant}"), take))

    def shown(self) -> bytes | None:
        """What changed since the last time, or None."""
        self._forget(time.time())
        if not self._changed:
            return None
        self._changed = False
        newest = [task for _, task in zip(range(SHOWN), reversed(self._tasks.values()), strict=False)]
        return msgspec.json.encode(Activity(running=len(self._until), ended=self._ended, tasks=newest))

    async def _hear(self, bus: Bus, subject: str, take: Take) -> None:
        async with bus.subscribe(subject) as heard:
            async for received in heard:
                try:
                    take(received)
                except InvalidMessage:  # the actor it was meant for buries it
                    continue
                self._changed = True

    def _task(self, received: Received) -> None:
        task = decode(received.payload, Task, received.headers)
        if task.task_id:  # one without is named by the router: its events say how
            doing = self._doing(task.task_id, task.turn)
            doing.text = task.text[:TEXT_LIMIT]
            self._until[task.task_id] = doing.at + task.deadline_s + GRACE_S

    def _event(self, received: Received) -> None:
        if b'"tokens"' in received.payload:
            return
        event = decode(received.payload, Event, received.headers)
        doing = self._doing(event.task_id, event.turn)
        if doing.ended:  # told late
            return
        if event.what == "planned" and event.plan:
            doing.nodes = len(event.plan.nodes)
        elif event.what in ("started", "called") and event.specialist not in doing.working:
            doing.working = [*doing.working, event.specialist]
        elif event.what == "finished":
            doing.working = [name for name in doing.working if name != event.specialist]
            doing.done += 1

    def _answer(self, received: Received) -> None:
        answer = decode(received.payload, Answer, received.headers)
        doing = self._doing(answer.task_id, answer.turn)
        doing.status, doing.ended, doing.working = answer.status.value, time.time(), []
        doing.nodes = doing.done = len(answer.plan.nodes)
        self._ended += self._until.pop(answer.task_id, None) is not None

    def _doing(self, task_id: str, turn: int) -> Doing:
        doing = self._tasks.get(task_id)
        if doing is None or doing.turn < turn:
            text = doing.text if doing else ""
            doing = self._tasks[task_id] = Doing(task_id=task_id, turn=turn, text=text, at=time.time())
            self._tasks.move_to_end(task_id)
            self._until[task_id] = doing.at + DEADLINE_S + GRACE_S
        return doing

    def _forget(self, now: float) -> None:
        """Those whose answer was not heard, and the oldest."""
        for task_id in [id_ for id_, until in self._until.items() if until < now]:
            self._until.pop(task_id)
            self._tasks.pop(task_id, None)
            self._changed = True
        while len(self._tasks) > REMEMBERED:
            task_id, _ = self._tasks.popitem(last=False)
            self._until.pop(task_id, None)
