"""The Serve policy that asks an actor's consumer how many replicas it needs.

A replica pulls its work, so Serve sees no requests: its own autoscaler would scale a saturated specialist down.

Serve pickles this module by value, where a struct would lose its fields (ray/serve/config.py, AutoscalingPolicy): what
the policy reckons with stands in `sizing.py`, which every node has.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec

from metier.topics import jetstream
from metier.topics.bus import Bus, Lag
from metier.topics.errors import Conflict, MetierError, Unknown
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects

from .sizing import Decision, Pace, decision_key, replicas

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

log = logging.getLogger("metier.scale")

#: How often the consumer is asked, in seconds.
POLL_S = 0.5
#: A policy that was not called for so long has been replaced, in seconds.
FORGOTTEN_S = 10.0


class ByLag:
    """Serve's policy for one actor. It lives in Serve's controller, is called ten times a second and never waits.

    While the broker is away it holds its last answer.
    """

    def __init__(
        self,
        *,
        url: str,
        root: str,
        stream: str,
        consumer: str,
        laned: bool,
        service_s: float,
        target_wait_s: float,
    ) -> None:
        self._url = url
        self._root = root
        self._consumer = Consumer(stream=stream, name=consumer, subject="", laned=laned)
        self._pace = Pace(service_s)
        self._target_wait_s = target_wait_s
        self._running = 0
        self._called_s = 0.0
        self._unknown = False
        self._lag: Lag | None = None
        self._decision: Decision | None = None
        self._told: Decision | None = None
        self._polling: asyncio.Task[None] | None = None

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """The number of replicas to have, and no state of Serve's."""
        # From Serve, which changes them in place; whatever is given to the constructor replaces the replicas.
        low, high = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
        if low == high:
            return low, {}
        self._called_s = time.monotonic()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.get_running_loop().create_task(self._poll())
        now, self._running = context.target_num_replicas, context.current_num_replicas
        if self._unknown:
            return max(now, 1), {}
        if self._lag is None:
            return now, {}
        lag, service_s = self._lag, self._pace.service_s
        wanted = replicas(lag.waiting, lag.in_flight, service_s, self._target_wait_s, low, high, now)
        if wanted != (self._decision.replicas if self._decision else now):
            why = f"{lag.waiting} waiting, {lag.in_flight} in flight, {service_s:.3g} s each"
            self._decision = Decision(replicas=wanted, before=now, at=dt.datetime.now(dt.UTC), why=why)
        return wanted, {}

    async def _poll(self) -> None:
        """Asks until the connection or the consumer is lost; the next call starts anew.

        Or until Serve calls no more: it makes a new policy for every change and never ends an old one.
        """
        try:
            name = f"scale-{self._consumer.name}"
            async with jetstream.connect(self._url, name=name, subjects=Subjects(self._root)) as bus:
                while time.monotonic() - self._called_s < FORGOTTEN_S:
                    self._lag = await bus.lag(self._consumer)
                    self._unknown = False
                    self._pace.note(time.monotonic(), self._lag, self._running)
                    await self._tell(bus)
                    await asyncio.sleep(POLL_S)
        except Unknown:
            self._unknown = True  # the first replica makes its consumer
            await asyncio.sleep(POLL_S)
        except MetierError as error:
            log.warning("%s keeps its replicas: %s", self._consumer.name, error, extra={"action": "scale_error"})
            await asyncio.sleep(POLL_S)

    async def _tell(self, bus: Bus) -> None:
        if self._decision is self._told or self._decision is None:
            return
        key, told = decision_key(self._consumer.name), self._decision
        entry = await bus.read(key)
        try:
            await bus.write(key, msgspec.json.encode(told), entry.revision if entry else 0)
        except Conflict:  # a policy that Serve has replaced wrote once more: the next round is after it
            return
        self._told = told
