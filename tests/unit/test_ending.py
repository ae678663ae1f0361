"""A cancellation that is lost is sent again, and one that must not be lost is not."""

from __future__ import annotations

import asyncio

import pytest

from metier.topics import ending


async def test_a_task_that_lost_its_cancellation_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_S", 0.01)
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await ending.end(task)

    assert (True, 3) == (task.cancelled(), lost)


async def test_what_ended_tasks_raise_stays_with_them() -> None:
    async def fails() -> None:
        raise ValueError("mine")

    tasks = [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    await ending.end(*tasks)

    assert [False, True] == [task.cancelled() for task in tasks]


async def test_a_cancellation_in_the_moment_work_is_done_is_not_lost() -> None:
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        return await done

    waits = asyncio.create_task(ending.apart(work()))
    await asyncio.sleep(0.01)
    done.set_result("done")
    waits.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waits
