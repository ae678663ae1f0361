"""How many replicas an actor needs, and the Serve policy that asks its consumer.

A replica pulls its work, so Serve sees no requests: its own autoscaler would scale a saturated specialist down.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

from metier.topics import jetstream
from metier.topics.bus import Lag
from metier.topics.errors import MetierError
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

log = logging.getLogger("metier.scale")

#: How often the consumer is asked, in seconds.
POLL_S = 0.5


def replicas(
    waiting: int, in_flight: int, service_s: float, target_wait_s: float, low: int, high: int, now: int
) -> int:
    """As many replicas as it takes for the last of the waiting work to begin within the target, within the bounds.

    `service_s` is what one message costs one replica, so with its concurrency divided out. Nothing shrinks while work
    waits, and work never finds no replica.
    """
    work = waiting + in_flight
    wanted = math.ceil(work * service_s / target_wait_s)
    if work:
        wanted = max(wanted, 1)
    if waiting:
        wanted = max(wanted, now)
    return max(low, min(high, wanted))


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
        service_s: float,
        target_wait_s: float,
        low: int,
        high: int,
    ) -> None:
        self._url = url
        self._root = root
        self._consumer = Consumer(stream=stream, name=consumer, subject="")
        self._service_s = service_s
        self._target_wait_s = target_wait_s
        self._low = low
        self._high = high
        self._lag: Lag | None = None
        self._polling: asyncio.Task[None] | None = None

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """The number of replicas to have, and no state of Serve's."""
        if self._polling is None or self._polling.done():
            self._polling = asyncio.get_running_loop().create_task(self._poll())
        now = context.target_num_replicas
        if self._lag is None:
            return now, {}
        lag = self._lag
        return replicas(
            lag.waiting, lag.in_flight, self._service_s, self._target_wait_s, self._low, self._high, now
        ), {}

    async def _poll(self) -> None:
        """Asks until the connection or the consumer is lost; the next call starts anew."""
        try:
            name = f"scale-{self._consumer.name}"
            async with jetstream.connect(self._url, name=name, subjects=Subjects(self._root)) as bus:
                while True:
                    self._lag = await bus.lag(self._consumer)
                    await asyncio.sleep(POLL_S)
        except MetierError as error:
            log.warning("%s keeps its replicas: %s", self._consumer.name, error, extra={"action": "scale_error"})
            await asyncio.sleep(POLL_S)
