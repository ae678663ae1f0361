"""What goes wrong in the bus in memory goes wrong as asked, and the same way for the same seed."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from metier.topics.bus import Publication
from metier.topics.errors import Conflict
from metier.topics.memory import Faults, MemoryBus
from metier.topics.streams import Consumer, streams
from metier.topics.subjects import Subjects

SUBJECTS = Subjects()
FLIGHTS = Consumer(
    stream="SUBTASKS", name="flights", subject=SUBJECTS.subtask("flights", "interactive", "default"), ack_wait_s=0.02
)
LIMIT_S = 5.0


async def delivered(faults: Faults, count: int, messages: int = 3, seed: int = 7) -> list[tuple[bytes, int]]:
    """Payload and attempt of the first `count` deliveries, each acknowledged."""
    bus = MemoryBus(SUBJECTS, faults, seed)
    await bus.ensure(streams(SUBJECTS), [FLIGHTS])
    for n in range(messages):
        await bus.publish(Publication(FLIGHTS.subject, b"%d" % n))
    seen: list[tuple[bytes, int]] = []
    async with bus.pull(FLIGHTS) as pull, asyncio.timeout(LIMIT_S):
        while len(seen) < count:
            for delivery in await pull.fetch(1):
                seen.append((delivery.payload, delivery.attempt))
                await delivery.ack()
    await bus.close()
    return seen


async def test_without_faults_every_message_comes_once_and_in_order() -> None:
    assert [(b"0", 1), (b"1", 1), (b"2", 1)] == await delivered(Faults(), 3)


async def test_a_duplicate_comes_after_the_acknowledgement() -> None:
    assert [(b"0", 1), (b"0", 1)] == await delivered(Faults(duplicate=1), 2, messages=1)


async def test_a_redelivery_comes_while_the_first_copy_is_handled() -> None:
    bus = MemoryBus(SUBJECTS, Faults(redeliver=1))
    await bus.ensure(streams(SUBJECTS), [FLIGHTS])
    await bus.publish(Publication(FLIGHTS.subject, b"0"))
    async with bus.pull(FLIGHTS) as pull, asyncio.timeout(LIMIT_S):
        assert [1, 2] == [delivery.attempt for _ in range(2) for delivery in await pull.fetch(1)]
    await bus.close()


async def test_a_dropped_delivery_comes_again_after_its_ack_wait_and_the_last_attempt_is_never_dropped() -> None:
    assert [(b"0", FLIGHTS.max_attempts)] == await delivered(Faults(drop=1), 1, messages=1)


async def test_reordering_loses_nothing() -> None:
    seen = await delivered(Faults(reorder=1), 20, messages=20)
    assert sorted(seen) != seen
    assert {b"%d" % n for n in range(20)} == {payload for payload, _ in seen}


async def test_one_seed_is_one_history() -> None:
    faults = Faults(reorder=0.5, redeliver=0.2, duplicate=0.1)
    first, same, other = [await delivered(faults, 20, 20, seed) for seed in (1, 1, 2)]
    assert first == same
    assert first != other


async def test_a_conflict_leaves_the_value_and_moves_the_revision() -> None:
    bus = MemoryBus(SUBJECTS, Faults(conflict=1))
    await bus.ensure(streams(SUBJECTS))
    created = await bus.write("task-1", b"plan", 0)
    with pytest.raises(Conflict):
        await bus.write("task-1", b"plan and result", created)
    entry = await bus.read("task-1")
    assert entry is not None
    assert entry.value == b"plan"
    assert entry.revision > created


@pytest.mark.parametrize("wrong", [{"drop": 1.5}, {"drop": -0.1}, {"lose": 0.5}])
def test_probabilities_are_checked_when_they_are_read(wrong: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Faults)
