"""The bus in one process, for tests: the same promises as JetStream's, and its misfortunes under a seed.

It keeps work queues, ack wait and attempts, limits, one answer per subject, deduplication, schedules and revisions. It
keeps nothing when the process ends. A test that passes here under `Faults` survives what a broker may do:

    bus = MemoryBus(Subjects(), Faults(duplicate=0.1, drop=0.1, reorder=0.5), seed=7)
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from .broker import Faults, Listener, Queue, Store, matches
from .bus import REPLY_TO, Entry, Lag, Publication, Pull, Received
from .errors import AlreadyAnswered, BusUnavailable, Busy, Conflict, Refused, Unknown
from .streams import LEDGER, Consumer, Stream
from .subjects import Subjects
from .wire import MESSAGE_ID, scheduled

__all__ = ["Faults", "MemoryBus"]

_NONE = Faults()


class MemoryBus:
    """Metier's bus in memory. Streams must be ensured first, as on a server."""

    payload_limit_bytes = 1024 * 1024

    def __init__(self, subjects: Subjects, faults: Faults = _NONE, seed: int = 0) -> None:
        self._subjects = subjects
        self._faults = faults
        self._random = random.Random(seed)
        self._stores: dict[str, Store] = {}
        self._queues: dict[tuple[str, str], Queue] = {}
        self._listeners: list[Listener] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._count = 0

    async def ensure(self, streams: Sequence[Stream], consumers: Sequence[Consumer] = ()) -> None:
        """Creates or updates. Raises Refused for what a server would not change, Unknown for a missing stream."""
        for stream in streams:
            store = self._stores.setdefault(stream.name, Store(stream))
            if (store.stream.retention, store.stream.storage) != (stream.retention, stream.storage):
                raise Refused(reason=f"stream {stream.name}: retention and storage cannot be changed")
            store.stream = stream
        for consumer in consumers:
            self._queue(consumer).attach(consumer, self._store(consumer.stream))

    async def publish(self, publication: Publication) -> bool:
        """Stores one message; False if its id is known."""
        subject, headers, message_id = publication.subject, dict(publication.headers), publication.message_id
        if publication.not_before is not None:
            self._count += 1
            subject, extra = scheduled(self._subjects, subject, message_id or str(self._count), publication.not_before)
            headers |= extra
        store = self._taking(subject)
        if publication.not_before is not None and not store.stream.schedules:
            raise Refused(reason=f"stream {store.stream.name} does not hold messages back")
        if message_id is not None:
            if store.knows(message_id):
                return False
            headers[MESSAGE_ID] = message_id
        message = self._keep(store, subject, publication.payload, headers)
        if message_id is not None:
            store.remember(message_id)
        if publication.not_before is not None:
            wait_s = (publication.not_before - dt.datetime.now(dt.UTC)).total_seconds()
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(wait_s, self._release, store, message, publication))
        return True

    async def emit(self, subject: str, payload: bytes, headers: Mapping[str, str] = {}) -> None:
        """Sends to who listens, and to a stream that takes the subject."""
        if any(store.takes(subject) for store in self._stores.values()):
            self._keep(self._taking(subject), subject, payload, dict(headers))
        else:
            self._tell(Received(subject, payload, headers, reply_to=headers.get(REPLY_TO, "")))

    @asynccontextmanager
    async def pull(self, consumer: Consumer) -> AsyncIterator[Pull]:
        """Opens a pull; it waits while the consumer does not exist."""
        yield self._queue(consumer)

    @asynccontextmanager
    async def subscribe(self, subject: str, *, confirmed: bool = True, group: str = "") -> AsyncIterator[Listener]:
        """Live messages."""
        with self._listening(subject, group=group) as listener:
            yield listener

    @asynccontextmanager
    async def replay(self, stream: str, subject: str, after: int = 0) -> AsyncIterator[AsyncIterator[Received]]:
        """Stored messages, then live ones."""
        past = [m for m in self._store(stream).messages.values() if m.sequence > after and matches(subject, m.subject)]
        with self._listening(subject, past) as listener:
            yield listener

    async def last(self, stream: str, subject: str) -> Received | None:
        """The newest stored message on a subject."""
        messages = reversed(self._store(stream).messages.values())
        return next((m for m in messages if matches(subject, m.subject)), None)

    async def request(self, subject: str, payload: bytes, wait_s: float) -> Sequence[Received]:
        """Asks everyone who listens."""
        self._count += 1
        inbox = f"_INBOX.memory.{self._count}"
        with self._listening(inbox) as listener:
            await self.emit(subject, payload, {REPLY_TO: inbox})
            await asyncio.sleep(wait_s)
            return listener.waiting()

    async def read(self, key: str) -> Entry | None:
        """A ledger entry."""
        found = await self.last(self._subjects.stream(LEDGER), self._subjects.ledger(key))
        return None if found is None else Entry(found.payload, found.sequence)

    async def write(self, key: str, value: bytes, revision: int) -> int:
        """Replaces a revision of a ledger entry. Raises Conflict."""
        subject = self._subjects.ledger(key)
        store = self._taking(subject)
        entry = await self.read(key)
        if entry is not None and self._random.random() < self._faults.conflict:
            entry = Entry(entry.value, self._keep(store, subject, entry.value, {}).sequence)
        if revision != (entry.revision if entry else 0):
            raise Conflict(key=key, revision=revision)
        return self._keep(store, subject, value, {}).sequence

    async def lag(self, consumer: Consumer) -> Lag:
        """How much work waits."""
        queue = self._queue(consumer)
        if queue.store is None:
            raise Unknown(name=f"consumer {consumer.name} of {consumer.stream}")
        again = sum(queue.attempts[sequence] > 1 for sequence in queue.in_flight)
        return Lag(len(queue.ready), len(queue.in_flight), again, queue.delivered - len(queue.in_flight))

    async def messages(self, stream: str) -> int:
        """How many messages a stream holds."""
        return len(self._store(stream).messages)

    async def remove(self, stream: str, sequence: int) -> None:
        """Deletes one stored message."""
        if sequence not in self._store(stream).messages:
            raise Unknown(name=f"message {sequence} of stream {stream}")
        self._forget(self._store(stream), sequence)

    async def close(self) -> None:
        """Stops every timer."""
        for timer in self._timers:
            timer.cancel()
        for queue in self._queues.values():
            queue.close()

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            raise Unknown(name=f"stream {name}")
        store = self._stores[name]
        for sequence in store.expired():
            self._forget(store, sequence)
        return store

    def _queue(self, consumer: Consumer) -> Queue:
        key = (consumer.stream, consumer.name)
        if key not in self._queues:
            self._queues[key] = Queue(consumer, self._faults, self._random)
        return self._queues[key]

    def _taking(self, subject: str) -> Store:
        for name, store in self._stores.items():
            if store.takes(subject):
                return self._store(name)
        raise BusUnavailable(url="memory", reason=f"no stream takes {subject}")

    def _keep(self, store: Store, subject: str, payload: bytes, headers: Mapping[str, str]) -> Received:
        subject = store.stored(subject)
        surplus, limit = store.surplus(subject)
        if surplus and store.stream.discard_new:
            if subject.startswith(f"{self._subjects.root}.answer."):
                raise AlreadyAnswered(subject=subject)
            raise Busy(reason=f"stream {store.stream.name} is full: {limit}")
        for sequence in surplus:
            self._forget(store, sequence)
        message = store.add(subject, payload, headers)
        self._tell(message)
        for queue in self._queues.values():
            if queue.store is store:
                queue.offer(message)
        return message

    def _release(self, store: Store, held: Received, publication: Publication) -> None:
        """The time of a scheduled message has come."""
        if store.messages.pop(held.sequence, None) is not None:
            self._keep(store, publication.subject, publication.payload, publication.headers)

    def _forget(self, store: Store, sequence: int) -> None:
        store.messages.pop(sequence, None)
        for queue in self._queues.values():
            if queue.store is store:
                queue.remove(sequence)

    def _tell(self, message: Received) -> None:
        told: set[str] = set()
        for listener in self._listeners:
            if matches(listener.subject, message.subject) and listener.group not in told:
                listener.put(message)
                told |= {listener.group} - {""}

    @contextmanager
    def _listening(self, subject: str, past: Sequence[Received] = (), group: str = "") -> Iterator[Listener]:
        listener = Listener(subject, past, group)
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)
