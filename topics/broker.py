"""What a broker does, in memory: limits, ack waits, attempts, listeners. `memory.py` makes a bus of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated

import msgspec

from .bus import Delivery, Received
from .lanes import Turns, lane, share
from .streams import Consumer, Retention, Stream

DEDUPE_S = 120.0

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often things go wrong, each a probability per delivery or write."""

    #: A message comes once more after it was acknowledged.
    duplicate: Probability = 0.0
    #: A message comes once more while its first copy is being handled.
    redeliver: Probability = 0.0
    #: A delivery is lost and comes again after its ack wait. A message's last attempt is never lost.
    drop: Probability = 0.0
    #: Any waiting message comes next, not the oldest.
    reorder: Probability = 0.0
    #: Another writer was first at a ledger entry: same value, new revision.
    conflict: Probability = 0.0


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of a pattern's: `*` stands for a token, `>` for the rest."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > index
        if index >= len(tokens) or token not in ("*", tokens[index]):
            return False
    return len(tokens) == len(wanted)


class Store:
    """The messages of a stream, oldest first, and the ids it has seen."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.messages: dict[int, Received] = {}
        self._last = 0
        self._ids: dict[str, dt.datetime] = {}

    def takes(self, subject: str) -> bool:
        """Whether the stream lists the subject."""
        return any(matches(pattern, subject) for pattern in self.stream.subjects)

    def stored(self, subject: str) -> str:
        """Where a published message is stored: with its tenant's share, if the stream adds it."""
        return f"{subject}.{share(subject.rsplit('.', 2)[1])}" if self.stream.shares else subject

    def add(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> Received:
        """Stores a message, whatever the limits."""
        self._last += 1
        message = Received(subject, payload, headers, self._last, dt.datetime.now(dt.UTC))
        self.messages[self._last] = message
        return message

    def surplus(self, subject: str) -> tuple[list[int], str]:
        """The messages that must go before another on this subject fits, and the limit that says so."""
        limit = self.stream.max_per_subject
        if limit is not None:
            same = [sequence for sequence, message in self.messages.items() if message.subject == subject]
            if len(same) >= limit:
                return same[: len(same) - limit + 1], f"{limit} messages per subject"
        limit = self.stream.max_messages
        if limit is not None and len(self.messages) >= limit:
            return list(self.messages)[: len(self.messages) - limit + 1], f"{limit} messages"
        return [], ""

    def knows(self, message_id: str) -> bool:
        """Whether the id was stored within the last two minutes."""
        oldest = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=DEDUPE_S)
        return self._ids.get(message_id, oldest) > oldest

    def remember(self, message_id: str) -> None:
        """Refuses the id from now on."""
        self._ids[message_id] = dt.datetime.now(dt.UTC)

    def expired(self) -> list[int]:
        """The messages older than the stream keeps them."""
        if self.stream.max_age_s is None:
            return []
        oldest = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=self.stream.max_age_s)
        return [sequence for sequence, message in self.messages.items() if message.at is None or message.at < oldest]


class Listener(AsyncIterator[Received]):
    """Messages on a subject as they come."""

    def __init__(self, subject: str, past: Sequence[Received] = (), group: str = "") -> None:
        self.subject = subject
        self.group = group
        self._queue: asyncio.Queue[Received] = asyncio.Queue()
        for message in past:
            self.put(message)

    def put(self, message: Received) -> None:
        """Hands over a message."""
        self._queue.put_nowait(message)

    def waiting(self) -> list[Received]:
        """Takes what has come."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]

    async def __anext__(self) -> Received:
        return await self._queue.get()


class Queue:
    """What one consumer has before it and in flight."""

    def __init__(self, consumer: Consumer, faults: Faults, rng: random.Random) -> None:
        self.consumer = consumer
        #: None until the consumer exists.
        self.store: Store | None = None
        self.ready: deque[Received] = deque()
        #: Deliveries not settled, by sequence, each with the timer that delivers it again.
        self.in_flight: dict[int, asyncio.TimerHandle] = {}
        self.attempts: dict[int, int] = {}
        self.delivered = 0
        self._faults = faults
        self._random = rng
        self._turns = Turns()
        self._change = asyncio.Event()

    def attach(self, consumer: Consumer, store: Store) -> None:
        """The consumer exists from now on; what its stream holds already comes first."""
        self.consumer = consumer
        if self.store is None:
            self.store = store
            for message in store.messages.values():
                self.offer(message)

    def offer(self, message: Received) -> None:
        """A message was stored."""
        if matches(f"{self.consumer.subject}.>" if self.consumer.laned else self.consumer.subject, message.subject):
            self._add(message)

    async def fetch(self, room: int) -> Sequence[Delivery]:
        """Waits for the first message, then returns at most `room`."""
        while True:
            fetched: list[Delivery] = []
            while self.ready and len(fetched) < room and len(self.in_flight) < self.consumer.max_in_flight:
                delivery = self._deliver()
                if delivery is not None:
                    fetched.append(delivery)
            if fetched:
                return fetched
            self._change.clear()
            await self._change.wait()

    def ack(self, message: Received) -> None:
        """Done, or never again; a work queue then forgets the message."""
        self._land(message)
        if self.store is not None and self.store.stream.retention is Retention.WORK:
            self.store.messages.pop(message.sequence, None)
        self._change.set()

    def acked(self, message: Received) -> None:
        """Done; under faults it may come once more."""
        first = message.sequence in self.in_flight
        self.ack(message)
        if first and self._happens(self._faults.duplicate):
            self._add(message, first=True)

    def again(self, message: Received, delay_s: float) -> None:
        """Delivers once more after the delay, unless it was settled."""
        if message.sequence not in self.in_flight:
            return
        self._land(message, settled=False)
        if self.store is None or message.sequence not in self.store.messages:
            return
        if delay_s > 0:
            self._fly(message, delay_s)
        else:
            self._add(message, first=True)

    def extend(self, message: Received) -> None:
        """Starts the ack wait anew."""
        if message.sequence in self.in_flight:
            self._fly(message, self.consumer.ack_wait_s)

    def remove(self, sequence: int) -> None:
        """The stream no longer has the message."""
        self.ready = deque(message for message in self.ready if message.sequence != sequence)

    def close(self) -> None:
        """Stops every timer."""
        for timer in self.in_flight.values():
            timer.cancel()

    def _deliver(self) -> Delivery | None:
        """The next message, in flight from now on; None if the delivery was lost."""
        if self._happens(self._faults.reorder):
            self.ready.rotate(-self._random.randrange(len(self.ready)))
        message = self._next()
        attempt = self.attempts[message.sequence] = self.attempts.get(message.sequence, 0) + 1
        self.delivered += 1
        self._fly(message, self.consumer.ack_wait_s)
        if attempt < self.consumer.max_attempts:
            if self._happens(self._faults.drop):
                return None
            if self._happens(self._faults.redeliver):
                self._add(message)
        return MemoryDelivery(self, message, attempt)

    def _next(self) -> Received:
        """The oldest message, of the lane whose turn it is."""
        if not self.consumer.laned:
            return self.ready.popleft()
        oldest: dict[int, Received] = {}
        for message in self.ready:
            oldest.setdefault(lane(message.subject), message)
        chosen = oldest[self._turns.next(oldest)]
        self.ready.remove(chosen)
        return chosen

    def _add(self, message: Received, first: bool = False) -> None:
        if first:
            self.ready.appendleft(message)
        else:
            self.ready.append(message)
        self._change.set()

    def _fly(self, message: Received, wait_s: float) -> None:
        self._land(message, settled=False)
        loop = asyncio.get_running_loop()
        self.in_flight[message.sequence] = loop.call_later(wait_s, self.again, message, 0.0)

    def _land(self, message: Received, settled: bool = True) -> None:
        timer = self.in_flight.pop(message.sequence, None)
        if timer is not None:
            timer.cancel()
        if settled:
            self.attempts.pop(message.sequence, None)

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability


class MemoryDelivery:
    """A message handed to one actor."""

    def __init__(self, queue: Queue, message: Received, attempt: int) -> None:
        self._queue = queue
        self._message = message
        self.subject = message.subject
        self.payload = message.payload
        self.headers = message.headers
        self.sequence = message.sequence
        self.attempt = attempt

    @property
    def at(self) -> dt.datetime:
        """When the stream stored it."""
        assert self._message.at is not None
        return self._message.at

    async def ack(self) -> None:
        """The work queue forgets it."""
        self._queue.acked(self._message)

    async def nak(self, delay_s: float = 0) -> None:
        """It comes again after the delay."""
        self._queue.again(self._message, delay_s)

    async def term(self) -> None:
        """It never comes again."""
        self._queue.ack(self._message)

    async def in_progress(self) -> None:
        """Its ack wait starts anew."""
        self._queue.extend(self._message)
