"""Metrics of one replica, read from its loop's record when the collector asks.

Counters and gauges per actor; durations of single messages are in the traces. Names follow the messaging conventions
where there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from metier.actors.loop import Loop
from metier.topics.bus import Bus, Lag
from metier.topics.messages import Presence

#: How old waiting and in-flight may be, in seconds.
EVERY_S = 5.0

Read = Callable[[], float]


class Watch:
    """One replica's figures. Its gauges of waiting work are the consumer's: every replica of an actor says the same."""

    def __init__(self, loop: Loop, bus: Bus) -> None:
        self._loop = loop
        self._bus = bus
        self._lag = Lag(waiting=0, in_flight=0)
        self._register()

    async def run(self, every_s: float = EVERY_S) -> None:
        """Keeps waiting and in-flight fresh until cancelled; the callbacks themselves must not wait."""
        while True:
            self._lag = await self._bus.lag(self._loop.actor.consumer)
            await asyncio.sleep(every_s)

    def _register(self) -> None:
        meter, record = metrics.get_meter("metier"), self._loop.record
        counters: tuple[tuple[str, str, str, Read], ...] = (
            (
                "messaging.client.consumed.messages",
                "{message}",
                "Deliveries settled.",
                lambda: record.handled,
            ),
            ("metier.messages.failed", "{message}", "Deliveries not acknowledged.", lambda: record.failed),
            ("metier.tokens.output", "{token}", "Tokens the actor's model wrote.", lambda: record.output_tokens),
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
        attributes = {
            "messaging.system": "nats",
            "messaging.consumer.group.name": self._loop.actor.name,
            "metier.replica": self._loop.record.replica,
        }
        return lambda _: [Observation(read(), attributes)]
