"""Waiting for deliveries, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from metier.topics.bus import Bus, Delivery, Publication, Pull
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects

LIMIT_S = 5.0
#: Long enough that something wrongly delivered would have come.
QUIET_S = 0.4


def flight(subjects: Subjects) -> str:
    """Where a flight's subtask goes."""
    return subjects.subtask("flights", "interactive", "default")


async def flights(
    bus: Bus, subjects: Subjects, laned: bool = True, *, ack_wait_s: float = 6.0, max_attempts: int = 5
) -> Consumer:
    """The specialist's consumers, or one alone for everything on the one subject used here."""
    consumer = Consumer(
        stream=subjects.stream("SUBTASKS"),
        name="flights",
        subject=subjects.subtasks("flights") if laned else flight(subjects),
        laned=laned,
        ack_wait_s=ack_wait_s,
        max_attempts=max_attempts,
    )
    await bus.ensure((), [consumer])
    return consumer


async def put(bus: Bus, subjects: Subjects, *payloads: bytes) -> None:
    for payload in payloads:
        await bus.publish(Publication(flight(subjects), payload))


async def fetch(pull: Pull, room: int = 1) -> Sequence[Delivery]:
    async with asyncio.timeout(LIMIT_S):
        return await pull.fetch(room)


async def one(pull: Pull) -> Delivery:
    (delivery,) = await fetch(pull)
    return delivery


async def nothing_comes(pull: Pull) -> bool:
    try:
        async with asyncio.timeout(QUIET_S):
            await pull.fetch(1)
    except TimeoutError:
        return True
    return False


async def settled(bus: Bus, consumer: Consumer) -> bool:
    """Whether every acknowledgement was read: the server may need several looks for it."""
    for _ in range(1000):
        lag = await bus.lag(consumer)
        if not lag.waiting + lag.in_flight:
            return True
    return False
