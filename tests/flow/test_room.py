"""What happens when there is more work than the team can hold."""

from __future__ import annotations

import asyncio

import pytest

from harness.house import open_house
from harness.instant import InstantEngine
from metier.topics import streams
from metier.topics.memory import MemoryBus
from metier.topics.messages import State


async def test_the_router_takes_no_more_than_the_team_can_hold_and_goes_on_when_it_can(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.actors.router.WITHIN", 3)
    monkeypatch.setattr("metier.actors.router.COUNT_EVERY_S", 0.001)
    async with open_house(bus, red=InstantEngine({}, pause_s=0.1)) as house:
        tasks = [await house.client.submit(f"red {n}") for n in range(60)]
        most = 0
        while await bus.messages(streams.TASKS):
            most = max(most, await bus.messages(streams.SUBTASKS))
            await asyncio.sleep(0.005)
        answers = await asyncio.gather(*(house.client.result(task) for task in tasks))

    assert {State.OK} == {answer.status for answer in answers}
    assert 3 <= most <= 3 + 16 + 8
