"""How long a new task would wait for its turn, from what waits now and how fast it goes."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence

from .bus import Bus, Lag
from .errors import Busy, MetierError
from .messages import Task
from .streams import TASKS, Consumer
from .subjects import Subjects

log = logging.getLogger("metier.load")

#: How often consumers are asked while tasks come, in seconds.
EVERY_S = 1.0
#: Without a task for so long, nobody asks.
IDLE_S = 10.0
#: Between two looks at what waits, when there was none of late, in seconds.
GAP_S = 0.25
#: How much the newest pace counts beside those before it.
NEWEST = 0.3

ROUTER, AGGREGATOR = "router", "aggregator"


class Queue:
    """What waits for one actor, and how many a second it ends while some wait."""

    def __init__(self) -> None:
        self.lag: Lag | None = None
        self.per_s: float | None = None
        self._at_s = 0.0

    def note(self, at_s: float, lag: Lag) -> None:
        """Takes what a consumer says at a time. The pace is the team's own only while it has no rest."""
        before, seconds = self.lag, at_s - self._at_s
        self.lag, self._at_s = lag, at_s
        if before is None or seconds <= 0 or not before.waiting or lag.ended < before.ended:
            return
        pace = (lag.ended - before.ended) / seconds
        self.per_s = pace if self.per_s is None else NEWEST * pace + (1 - NEWEST) * self.per_s

    @property
    def wait_s(self) -> float:
        """Seconds until what waits now has had its turn; 0 while nothing waits, or nothing is known."""
        if self.lag is None or not self.lag.waiting or not self.per_s:
            return 0.0
        return self.lag.waiting / self.per_s


class Load:
    """Asks the consumers of a team, by actor, while tasks come."""

    def __init__(self, bus: Bus, consumers: Mapping[str, Consumer]) -> None:
        self._bus = bus
        self._consumers = consumers
        self.queues = {name: Queue() for name in consumers}
        self._asked_at = 0.0
        self._measured_at = -2 * IDLE_S
        self._wanted = asyncio.Event()
        self._looking = asyncio.Lock()

    def wait_s(self, specialists: Sequence[str] = ()) -> float:
        """How long a task would wait. Who will work on it is not known before it is read, unless it says so itself:
        until then the least busy specialist counts, so that one flooded trade closes the door for nobody else."""
        self._asked_at = time.monotonic()
        self._wanted.set()
        rest = [name for name in self.queues if name not in (ROUTER, AGGREGATOR)]
        ways = [self.queues[name].wait_s for name in (ROUTER, AGGREGATOR) if name in self.queues]
        named = [self.queues[name].wait_s for name in specialists if name in self.queues]
        others = [] if specialists else [min((self.queues[name].wait_s for name in rest), default=0.0)]
        return max([0.0, *ways, *named, *others])

    async def run(self) -> None:
        """Measures until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self.measure()
            except MetierError as error:
                log.warning("lag: %s", error, extra={"action": "lag_error"})
            await asyncio.sleep(EVERY_S)
            if time.monotonic() - self._asked_at > IDLE_S:
                self._wanted.clear()

    def check(self, task: Task) -> None:
        """Raises Busy if at the team's pace the task would not have its turn before its deadline."""
        wait_s = self.wait_s(task.specialists)
        if wait_s > task.deadline_s:
            reason = f"at its pace now a task waits {wait_s:.0f} s, and this one's deadline is {task.deadline_s:g} s"
            raise _busy(reason, wait_s - task.deadline_s)

    async def turned_away(self, task: Task, refused: Busy) -> Busy:
        """A full stream's refusal with the time to come back after: measured now, if it was not of late.

        Where nothing moves, the task's own deadline: there is nothing better to say.
        """
        try:
            await self._look()
        except MetierError as error:
            log.warning("lag: %s", error, extra={"action": "lag_error"})
        wait_s = self.wait_s(task.specialists)
        again_s = max(wait_s - task.deadline_s, 1.0) if wait_s else task.deadline_s
        return _busy(str(refused.values["reason"]), again_s)

    async def _look(self) -> None:
        """Measures what was not measured just now, and twice if it was not of late: a pace takes two."""
        async with self._looking:
            if time.monotonic() - self._measured_at > IDLE_S:
                await self.measure()
                await asyncio.sleep(GAP_S)
            if time.monotonic() - self._measured_at >= GAP_S:
                await self.measure()

    async def measure(self) -> None:
        """Asks every consumer once."""
        self._measured_at = time.monotonic()
        names = list(self._consumers)
        lags = await asyncio.gather(*(self._bus.lag(self._consumers[name]) for name in names), return_exceptions=True)
        for name, lag in zip(names, lags, strict=True):
            if isinstance(lag, Lag):
                self.queues[name].note(time.monotonic(), lag)
            elif not isinstance(lag, MetierError):  # an actor that nobody has started yet has no consumer
                raise lag


def door(subjects: Subjects) -> dict[str, Consumer]:
    """What every team's router pulls from: all that a client knows of a team."""
    return {ROUTER: Consumer(stream=subjects.stream(TASKS), name=ROUTER, subject=subjects.tasks(), laned=True)}


def _busy(reason: str, again_s: float) -> Busy:
    again_s = math.ceil(max(again_s, 1.0))
    return Busy(reason=f"{reason}; retry after {again_s} s", retry_after_s=again_s)
