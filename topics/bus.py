"""The seam between Metier and its message bus.

Two adapters fill it: `jetstream.py` (NATS JetStream) and `memory.py` (in process, for tests, with faults under a seed).
Both pass one contract test. Nothing outside the adapters knows NATS.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from .streams import Consumer, Stream


class Received(msgspec.Struct, frozen=True):
    """One message as it was read: no duty to settle it."""

    subject: str
    payload: bytes
    headers: Mapping[str, str]
    #: Place in its stream, from 1; 0 for a message that is in no stream.
    sequence: int = 0
    #: When the stream stored it.
    at: dt.datetime | None = None
    #: Where its sender waits for a reply; empty if it does not.
    reply_to: str = ""


class Publication(msgspec.Struct, frozen=True):
    """One message to be stored by a stream."""

    subject: str
    payload: bytes
    headers: Mapping[str, str] = {}
    #: The stream keeps the first message of an id and drops the rest (within its window of two minutes).
    message_id: str | None = None
    #: The stream holds the message back until then.
    not_before: dt.datetime | None = None


class Entry(msgspec.Struct, frozen=True):
    """A ledger entry and the revision to name when replacing it."""

    value: bytes
    revision: int


class Lag(msgspec.Struct, frozen=True):
    """What a consumer has before it. Waiting alone falls to 0 while replicas are busy: count both."""

    waiting: int
    in_flight: int
    redelivered: int = 0
    #: Deliveries that have ended since the consumer was made.
    ended: int = 0

    @classmethod
    def sum(cls, lags: Sequence[Lag]) -> Lag:
        """What several consumers have before them together."""
        return cls(*(sum(values) for values in zip(*map(msgspec.structs.astuple, lags), strict=True)))


class Delivery(Protocol):
    """One copy of a message handed to one actor. It is settled exactly once: ack, nak or term."""

    @property
    def subject(self) -> str:
        """Where it was published."""
        ...

    @property
    def payload(self) -> bytes:
        """What was published."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Trace context and whatever else came with it."""
        ...

    @property
    def sequence(self) -> int:
        """Its place in the stream, from 1."""
        ...

    @property
    def at(self) -> dt.datetime:
        """When the stream stored the message, in UTC."""
        ...

    @property
    def attempt(self) -> int:
        """How often this message was delivered, this time included; from 1."""
        ...

    async def ack(self) -> None:
        """Done: the work queue forgets the message."""
        ...

    async def nak(self, delay_s: float = 0) -> None:
        """Not done: deliver again after the delay."""
        ...

    async def term(self) -> None:
        """Never deliver again."""
        ...

    async def in_progress(self) -> None:
        """Still at work: the ack wait starts anew."""
        ...


class Pull(Protocol):
    """An open pull on one consumer. It holds no message that was not asked for."""

    async def fetch(self, room: int) -> Sequence[Delivery]:
        """Waits for the first message, then returns what has arrived, at most `room` messages.

        Cancelling it loses nothing: what had arrived comes with the next call, or is handed back on close.
        """
        ...


class Bus(Protocol):
    """What Metier asks of a message bus."""

    @property
    def payload_limit_bytes(self) -> int:
        """Larger payloads travel by reference, unseen by the caller."""
        ...

    async def ensure(self, streams: Sequence[Stream], consumers: Sequence[Consumer] = ()) -> None:
        """Creates what is missing and updates what differs; doing it twice changes nothing."""
        ...

    async def publish(self, publication: Publication) -> bool:
        """Stores one message and waits until the stream has it; False if its id was there already.

        Raises AlreadyAnswered, Busy or BusUnavailable.
        """
        ...

    async def emit(self, subject: str, payload: bytes, headers: Mapping[str, str] = {}) -> None:
        """Sends without waiting and without promise: progress, tokens, control."""
        ...

    def pull(self, consumer: Consumer) -> AbstractAsyncContextManager[Pull]:
        """Opens a pull. On exit, messages that arrived and were not fetched are handed back at once."""
        ...

    def subscribe(
        self, subject: str, *, confirmed: bool = True, group: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[Received]]:
        """Live messages on a subject (wildcards allowed), from the moment the context is entered.

        Not `confirmed`, it saves a round trip and still hears whatever this bus's own later messages lead to.
        Of subscribers that name the same `group`, each message reaches one.
        """
        ...

    def replay(self, stream: str, subject: str, after: int = 0) -> AbstractAsyncContextManager[AsyncIterator[Received]]:
        """Stored messages after a sequence in order, then live ones as they are stored, without gap."""
        ...

    async def last(self, stream: str, subject: str) -> Received | None:
        """The newest stored message on a subject."""
        ...

    async def request(self, subject: str, payload: bytes, wait_s: float) -> Sequence[Received]:
        """Asks everyone who listens and gathers the replies of `wait_s` seconds. Repliers use `reply_to`."""
        ...

    async def read(self, key: str) -> Entry | None:
        """A ledger entry."""
        ...

    async def write(self, key: str, value: bytes, revision: int) -> int:
        """Replaces revision `revision` of a ledger entry (0: it must not exist) and returns the new one.

        Raises Conflict when another writer was first.
        """
        ...

    async def lag(self, consumer: Consumer) -> Lag:
        """How much work waits for a consumer."""
        ...

    async def messages(self, stream: str) -> int:
        """How many messages a stream holds."""
        ...

    async def remove(self, stream: str, sequence: int) -> None:
        """Deletes one stored message."""
        ...

    async def close(self) -> None:
        """Sends what is buffered and closes what this bus opened, not what it was handed."""
        ...


#: Header that names the subject to reply to in `Bus.request`.
REPLY_TO = "Metier-Reply-To"
