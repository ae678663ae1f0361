"""What the agents' doors share: what may be said beside the words, whom a task is for, and how its steps are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from importlib import metadata
from typing import Annotated, Any, TypeVar

import msgspec

from metier.topics.bus import Bus
from metier.topics.client import GRACE_S
from metier.topics.ending import end
from metier.topics.errors import InvalidInput, InvalidValue
from metier.topics.load import Load
from metier.topics.messages import TEXT_LIMIT, Answer, Context, Event, Privacy, Seconds, State, Task
from metier.topics.subjects import Subjects

from ..gateway.bodies import InputBody, TaskBody
from ..gateway.calls import House
from ..gateway.crew import Crew
from ..gateway.door import Door, Found
from ..gateway.keys import Keys
from ..gateway.settings import Limits

T = TypeVar("T")

VERSION = metadata.version("metier")


class Extra(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be said of a task beside its words."""

    context: Context = Context()
    #: Seconds from acceptance to the answer, whatever is done by then.
    deadline_s: Seconds = 30.0
    privacy: Privacy = Privacy.ANY
    budget_usd: Annotated[float, msgspec.Meta(ge=0)] | None = None


def read(kind: type[T], value: Any) -> T:
    """A value as it is meant. Raises InvalidInput with the place."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(reason=f"{error}") from None


async def ask(
    house: House, tenant: str, text: str, extra: Extra, specialists: tuple[str, ...] = (), traceparent: str = ""
) -> Task:
    """Accepts a task. Raises MetierError or Problem."""
    door = house.opened()
    _check_text(text)
    if specialists:
        known = await house.crew.specialists(door.bus)
        for name in specialists:
            if name not in known:
                raise InvalidValue(value=name, kind="specialist", reason=f"this team has {', '.join(known)}")
    fields = {name: getattr(extra, name) for name in Extra.__struct_fields__}
    return await door.accept(tenant, TaskBody(text=text, specialists=specialists, **fields), "", traceparent)


async def go_on(
    house: House, tenant: str, task_id: str, text: str, deadline_s: float = 30.0, traceparent: str = ""
) -> Task:
    """Goes on with what a task was missing. Raises MetierError or Problem."""
    door = house.opened()
    _check_text(text)
    found = await door.found(tenant, task_id)
    return await door.go_on(found, InputBody(text=text, deadline_s=deadline_s), traceparent)


async def steps(door: Door, task: Task, limit_s: float | None = None) -> AsyncGenerator[Event | Answer]:
    """A turn's events, those before the call too, then its answer. Raises Timeout."""
    limit_s = task.deadline_s + GRACE_S if limit_s is None else limit_s
    async with aclosing(door.follow(task, 0, limit_s)) as followed:
        async for _, item in followed:
            yield item


def turn_of(found: Found, tenant: str, task_id: str) -> Task:
    """The latest turn of a task, to be followed."""
    return Task(task_id=task_id, tenant=tenant, turn=found.turn, text="")


def told(event: Event) -> str:
    """An event as a short sentence; empty for tokens."""
    match event.what:
        case "planned":
            nodes = event.plan.nodes if event.plan else ()
            return f"plan: {', '.join(node.id for node in nodes)}"
        case "tokens":
            return ""
        case "finished":
            return f"{event.node}: {event.state.value if event.state else 'finished'}"
        case _:
            return f"{event.node}: {event.what}" + (f" {event.text}" if event.text else "")


def failed(answer: Answer) -> bool:
    """Whether the asker did not get what was asked for."""
    return answer.status not in (State.OK, State.INPUT_REQUIRED)


def _check_text(text: str) -> None:
    """Raises InvalidInput: the rest is checked where the task is made."""
    if not text.strip():
        raise InvalidInput(reason="the text is empty: a task needs at least one word")
    if len(text) > TEXT_LIMIT:
        raise InvalidInput(reason=f"the text has {len(text)} characters; the limit is {TEXT_LIMIT}")


@asynccontextmanager
async def opened(bus: Bus, subjects: Subjects, crew: Crew) -> AsyncIterator[House]:
    """A house of its own, without HTTP around it, for a door that is served in this process."""
    house = House(crew, Keys(None), Limits())
    door = Door(bus, subjects, Load(bus, crew.consumers))
    reading = asyncio.Event()
    sides = [asyncio.create_task(door.answers.run(reading)), asyncio.create_task(door.load.run())]
    try:
        await reading.wait()
        house.door = door
        yield house
    finally:
        house.door = None
        await end(*sides)
