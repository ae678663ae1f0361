"""How many replicas an actor needs: from what waits, and from what a message was measured to cost."""

from __future__ import annotations

import datetime as dt
import math

import msgspec

from metier.topics.bus import Lag

#: What was measured this long ago counts half, in seconds.
HALF_LIFE_S = 20.0
#: How many measured messages the assumed service time weighs as much as.
ASSUMED = 4.0


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


class Pace:
    """What one message costs one replica, measured: while work waits no replica is idle, so time is all work.

    It begins as assumed, and what is measured weighs more with each message.
    """

    def __init__(self, assumed_s: float) -> None:
        self._assumed_s = assumed_s
        self._busy_s = self._ended = 0.0
        self._last: tuple[float, Lag] | None = None

    @property
    def service_s(self) -> float:
        """Seconds of one replica for one message."""
        return (self._assumed_s * ASSUMED + self._busy_s) / (ASSUMED + self._ended)

    def note(self, at_s: float, lag: Lag, running: int) -> None:
        """Takes what the consumer says at a time on a steady clock, with so many replicas at work."""
        before, self._last = self._last, (at_s, lag)
        if before is None or not running or not before[1].waiting or not lag.waiting:
            return
        seconds, ended = at_s - before[0], lag.ended - before[1].ended
        if ended < 0:  # the consumer was made anew
            return
        kept = 0.5 ** (seconds / HALF_LIFE_S)
        self._busy_s = self._busy_s * kept + seconds * running
        self._ended = self._ended * kept + ended


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas an actor should have, since when and why; kept in the ledger for who wants to know."""

    replicas: int
    before: int
    at: dt.datetime
    why: str


def decision_key(actor: str) -> str:
    """The ledger's key of an actor's last decision; no task has a key of three parts."""
    return f"team.replicas.{actor}"
