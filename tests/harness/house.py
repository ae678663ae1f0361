"""A whole team in one process, over any bus, with models that answer at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from metier.actors.actor import Actor
from metier.actors.aggregator import Aggregator
from metier.actors.expert import Expert
from metier.actors.loop import Loop
from metier.actors.policy import Roster, Tier
from metier.actors.router import Router
from metier.actors.specialist import Specialist
from metier.topics import streams
from metier.topics.bus import Bus
from metier.topics.client import Client
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects

from .instant import EchoTool, InstantEncoder, InstantEngine

SUBJECTS = Subjects()

NEEDS: Mapping[str, tuple[str, ...]] = {"red": (), "green": (), "blue": (), "mixer": ("red", "green", "blue")}

#: The same as a team file; its models and tools are nowhere.
FILE = """
name: house
models: {m: {engine: "nowhere:Engine"}}
router: {model: m, heads: none}
specialists:
  red: {about: Red., model: m, tools: ["nowhere:red"]}
  green: {about: Green., model: m, tools: ["nowhere:green"]}
  blue: {about: Blue., model: m, tools: ["nowhere:blue"]}
  mixer: {about: All., model: m, tools: ["nowhere:mixer"], needs: [red, green, blue]}
"""

ROSTER = Roster(
    needs=NEEDS,
    gives_up_to={"router": "large", **dict.fromkeys(NEEDS, "large")},
    tiers={"large": Tier(name="large", local=True, stand_in=True, prompt_price=2.5, output_price=10.0)},
)


def consumer(name: str, ack_wait_s: float = 2.0, max_attempts: int = 5) -> Consumer:
    stream, subject = {
        "router": (streams.TASKS, SUBJECTS.tasks()),
        "aggregator": (streams.RESULTS, SUBJECTS.everything("result")),
        "large": (streams.ESCALATIONS, SUBJECTS.escalations("large")),
    }.get(name, (streams.SUBTASKS, SUBJECTS.subtasks(name)))
    return Consumer(
        stream=stream,
        name=name,
        subject=subject,
        ack_wait_s=ack_wait_s,
        max_attempts=max_attempts,
        laned=name != "aggregator",
    )


class House:
    """The actors, their loops, and a client."""

    def __init__(
        self,
        bus: Bus,
        roster: Roster,
        engines: Mapping[str, InstantEngine],
        refusing: tuple[str, ...] = (),
        **consumer_options: Any,
    ) -> None:
        self.bus = bus
        self.client = Client(bus, SUBJECTS)
        self.tools = {name: EchoTool(name) for name in NEEDS}
        self.engines = {name: engines.get(name, InstantEngine({})) for name in (*NEEDS, "large")}
        self.consumers = {
            name: consumer(name, **consumer_options) for name in ("router", "aggregator", "large", *NEEDS)
        }
        router = Router(
            bus=bus,
            subjects=SUBJECTS,
            consumer=self.consumers["router"],
            concurrency=16,
            encoder=InstantEncoder(tuple(NEEDS)),
            roster=roster,
        )
        aggregator = Aggregator(bus=bus, consumer=self.consumers["aggregator"], concurrency=64, roster=roster)
        expert = Expert(
            tier=ROSTER.tiers["large"],
            consumer=self.consumers["large"],
            concurrency=4,
            engine=self.engines["large"],
            max_tokens=64,
        )
        specialists = [
            Specialist(
                name=name,
                consumer=self.consumers[name],
                concurrency=8,
                engine=self.engines[name],
                tools=[self.tools[name]],
                least_confidence=0.5,
                may_refuse=name in refusing,
            )
            for name in NEEDS
        ]
        actors: list[Actor] = [router, aggregator, expert, *specialists]
        self.loops = {actor.name: Loop(actor, bus, SUBJECTS) for actor in actors}


@asynccontextmanager
async def open_house(
    bus: Bus, *, roster: Roster = ROSTER, asleep: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[House]:
    """A running house; actors named in `asleep` do not work. Engines by name; those in `refusing` may
    call no tool; consumer options by keyword."""
    engines = {name: options.pop(name) for name in list(options) if isinstance(options[name], InstantEngine)}
    house = House(bus, roster, engines, **options)
    await bus.ensure(streams.streams(SUBJECTS), list(house.consumers.values()))
    running = [asyncio.create_task(loop.run()) for name, loop in house.loops.items() if name not in asleep]
    try:
        yield house
    finally:
        await asyncio.gather(*(loop.stop(1.0) for loop in house.loops.values()))
        await asyncio.gather(*running)
        await house.client.close()


async def stored(bus: Bus, stream: str, subject: str, count: int, within_s: float = 5.0) -> list[Any]:
    """The first `count` stored messages on a subject."""
    found = []
    async with asyncio.timeout(within_s), bus.replay(stream, subject) as messages:
        async for message in messages:
            found.append(msgspec.json.decode(message.payload))
            if len(found) == count:
                break
    return found
