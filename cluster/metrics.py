"""Metrics of one replica, read from its loop's record when the collector asks.

Counters and gauges per actor; `actors/record.py` has the histograms. Names follow the messaging conventions where there
is one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from metier.actors.loop import Loop
from metier.topics import tracing
from metier.topics.bus import Bus, Lag
from metier.topics.errors import MetierError
from metier.topics.messages import Presence

_log = logging.getLogger("metier.metrics")

#: How old waiting and in-flight may be, in seconds.
EVERY_S = 5.0

Read = Callable[[], float]


class Watch:
    """One replica's figures. Its gauges of waiting work are the consumer's: every replica of an actor says the same."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lag = Lag(waiting=0, in_flight=0)
        self._register()

    async def run(self, loop: Loop, bus: Bus, every_s: float = EVERY_S) -> None:
        """Keeps waiting and in-flight fresh until cancelled; the callbacks themselves must not wait.

        The loop is the one that runs now: a replica that is configured anew has another, and the same instruments.
        """
        self._loop = loop
        while True:
            try:
                self._lag = await bus.lag(loop.actor.consumer)
            except MetierError as error:
                _log.warning("lag is not known: %s", error, extra={"action": "lag"})
            await asyncio.sleep(every_s)

    def _register(self) -> None:
        meter = metrics.get_meter("metier")
        counters: tuple[tuple[str, str, str, Read], ...] = (
            (
                "messaging.client.consumed.messages",
                "{message}",
                "Deliveries settled.",
                lambda: self._loop.record.handled,
            ),
            ("metier.messages.failed", "{message}", "Deliveries not acknowledged.", lambda: self._loop.record.failed),
        )
        gauges: tuple[tuple[str, str, str, Read], ...] = (
            ("metier.messages.waiting", "{message}", "Messages no replica has yet.", lambda: self._lag.waiting),
            ("metier.messages.in_flight", "{message}", "Messages replicas hold.", lambda: self._lag.in_flight),
            ("metier.messages.rate", "{message}/s", "Handled, over the last minute.", lambda: self._now.rate),
            ("metier.process.p50", "ms", "Median time of a message, last minute.", lambda: self._now.p50_ms),
            ("metier.process.p99", "ms", "99th percentile of the same.", lambda: self._now.p99_ms),
        )
        for name, unit, about, read in counters:
            meter.create_observable_counter(name, [self._observe(read)], unit, about)
        for name, unit, about, read in gauges:
            meter.create_observable_gauge(name, [self._observe(read)], unit, about)

    @property
    def _now(self) -> Presence:
        return self._loop.record.presence(self._loop.actor, self._lag.in_flight)

    def _observe(self, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        attributes = {tracing.SYSTEM: "nats", tracing.CONSUMER: self._loop.actor.name}
        return lambda _: [Observation(read(), attributes)]
