"""What a loop remembers of its own work, for `status`, and what it counts, for metrics."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from opentelemetry import metrics

from metier.topics import tracing
from metier.topics.messages import Presence, Usage
from metier.topics.outbox import Output

if TYPE_CHECKING:
    from .actor import Actor

#: Seconds the rate and the latencies look back.
WINDOW_S = 60.0
#: Deliveries they look back at most.
KEPT = 4096


_meter = metrics.get_meter("metier")
# Buckets as the conventions ask, and two more for large models: those of the SDK are for milliseconds.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0)
_durations = _meter.create_histogram(
    "messaging.process.duration",
    "s",
    "Time a delivery took, to its settlement.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
_tokens = _meter.create_histogram(
    "gen_ai.client.token.usage",
    "{token}",
    "Tokens read and written by model calls.",
    explicit_bucket_boundaries_advisory=[4.0**power for power in range(14)],
)


class Record:
    """Deliveries handled by one replica."""

    def __init__(self, actor: str) -> None:
        self._attributes = {tracing.SYSTEM: "nats", tracing.OPERATION: "process", tracing.CONSUMER: actor}
        self.replica = uuid4().hex[:8]
        self.handled = 0
        self.failed = 0
        self.output_tokens = 0
        self._began = time.monotonic()
        self._recent: deque[tuple[float, float]] = deque(maxlen=KEPT)

    def took(self, seconds: float, ok: bool) -> None:
        """Notes one settled delivery."""
        self.handled += 1
        self.failed += not ok
        self._recent.append((time.monotonic(), seconds))
        _durations.record(seconds, self._attributes)

    def used(self, outputs: Sequence[Output]) -> None:
        """Notes the tokens that a handled message says it used."""
        for output in outputs:
            if isinstance(output, Usage):
                for tokens in output.tokens:
                    self.output_tokens += tokens.output
                    about = {tracing.GEN_AGENT: output.name, tracing.GEN_MODEL: tokens.model}
                    _tokens.record(tokens.prompt, about | {tracing.GEN_TOKEN_TYPE: "input"})
                    _tokens.record(tokens.output, about | {tracing.GEN_TOKEN_TYPE: "output"})

    def presence(self, actor: Actor, in_flight: int) -> Presence:
        """The replica as `status` shows it."""
        now = time.monotonic()
        recent = sorted(took for at, took in self._recent if now - at <= WINDOW_S)
        uptime_s = now - self._began
        return Presence(
            actor=actor.name,
            replica=self.replica,
            pid=os.getpid(),
            host=socket.gethostname(),
            stream=actor.consumer.stream,
            consumer=actor.consumer.name,
            in_flight=in_flight,
            handled=self.handled,
            failed=self.failed,
            rate=round(len(recent) / min(WINDOW_S, max(uptime_s, 1.0)), 3),
            p50_ms=_percentile(recent, 0.50),
            p99_ms=_percentile(recent, 0.99),
            output_tokens=self.output_tokens,
            model=actor.model,
            note=actor.note,
            uptime_s=round(uptime_s, 1),
        )


def _percentile(ordered: list[float], share: float) -> float:
    """A percentile in milliseconds by nearest rank; 0 of nothing."""
    if not ordered:
        return 0.0
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)
