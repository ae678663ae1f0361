"""The bus on NATS JetStream; with `connection.py` the one place that knows the NATS library.

Publishing, pulling and the ledger speak the protocol directly (`inbox.py`, `pulls.py`, `wire.py`): the library's own
`publish` and `fetch` cost several times as much.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
import nats.errors
from nats.aio.client import Client

from . import configuration, wire
from .bus import REPLY_TO, Entry, Lag, Publication, Pull, Received
from .connection import Connection
from .ending import apart
from .errors import BusUnavailable, Conflict, Unknown
from .inbox import ATTEMPTS, Inbox
from .knocking import LanesPull
from .objects import Objects
from .pulls import JetStreamPull
from .replay import Live, Replay, stored
from .streams import DAY_S, LEDGER, Consumer, Stream
from .subjects import Subjects

_log = logging.getLogger(__name__)

#: What headers and subject may take of the server's limit for a message.
_MARGIN_BYTES = 16 * 1024
_RECONNECT_S = 0.25
#: A server is asked so often whether it lives, and left for another after two questions without a reply: of a host that
#: lost its power or its cable no connection tells. It is left before a flush gives up (10 s): a PONG that comes for one
#: that was given up would be the last that the library reads.
_PING_S = 3
#: Object store bucket for payloads over the limit.
_LARGE = "LARGE"

_reply = msgspec.json.Decoder(wire.Reply)
_consumer = msgspec.json.Decoder(wire.ConsumerInfo)
_stream = msgspec.json.Decoder(wire.StreamInfo)
_encode = msgspec.json.encode


class JetStreamBus:
    """Metier's bus on a NATS connection, which it is handed and never closes.

    `Publication.not_before` is kept by the server's schedules: never early, at most a quarter of a
    second late (measured).
    """

    def __init__(self, connection: Client, subjects: Subjects) -> None:
        self._client = connection
        self._connection = Connection(connection)
        self._subjects = subjects
        self._inbox = Inbox(self._connection)
        self._ledger = subjects.stream(LEDGER)
        self._objects = Objects(self._connection, self._inbox, subjects.stream(_LARGE))

    @property
    def payload_limit_bytes(self) -> int:
        """Larger payloads travel by reference."""
        return self._client.max_payload - _MARGIN_BYTES

    async def ensure(self, streams: Sequence[Stream], consumers: Sequence[Consumer] = ()) -> None:
        """Creates or updates. Raises Refused when the server will not change what is there."""
        # One of an actor's name, from before there were lanes, would be in their way.
        former = [f"CONSUMER.DELETE.{consumer.stream}.{consumer.name}" for consumer in consumers if consumer.laned]
        await asyncio.gather(*(self._api(subject, {}) for subject in former))
        if streams:
            replicas = max(stream.replicas for stream in streams)
            await self._ensure_stream(configuration.bucket_config(self._subjects.stream(_LARGE), DAY_S, replicas))
        for stream in streams:
            await self._ensure_stream(configuration.stream_config(stream))
        await asyncio.gather(*(self._ensure_consumer(lane) for consumer in consumers for lane in consumer.each()))

    async def publish(self, publication: Publication) -> bool:
        """Stores one message; a lost acknowledgement is asked for again, which the message id makes safe.

        False, too, if an earlier attempt of this call had stored it and its acknowledgement was lost.
        """
        subject, headers = publication.subject, dict(publication.headers)
        message_id = publication.message_id or self._inbox.unique()
        headers[wire.MESSAGE_ID] = message_id
        if publication.not_before is not None:
            subject, schedule = wire.scheduled(self._subjects, subject, message_id, publication.not_before)
            headers |= schedule
        payload = await self._objects.fitting(publication.payload, headers, self.payload_limit_bytes)
        reply = _reply.decode((await self._inbox.ask(subject, payload, headers)).data)
        if reply.error is not None:
            raise wire.refusal(reply.error, self._subjects, subject, headers)
        return not reply.duplicate

    async def emit(self, subject: str, payload: bytes, headers: Mapping[str, str] = {}) -> None:
        """Sends without waiting."""
        sent = dict(headers)
        payload = await self._objects.fitting(payload, sent, self.payload_limit_bytes)
        await self._connection.publish(subject, payload, "", sent or None)

    @asynccontextmanager
    async def pull(self, consumer: Consumer) -> AsyncIterator[Pull]:
        """Opens a pull."""
        kind = LanesPull if consumer.laned else JetStreamPull
        pull = kind(self._connection, consumer, self._objects.payload)
        await pull.open()
        try:
            yield pull
        finally:
            await pull.close()

    @asynccontextmanager
    async def subscribe(self, subject: str, *, confirmed: bool = True, group: str = "") -> AsyncIterator[Live]:
        """Live messages."""
        live = Live(self._connection, subject, self._objects.payload, confirmed=confirmed, group=group)
        await live.open()
        try:
            yield live
        finally:
            await live.close()

    @asynccontextmanager
    async def replay(self, stream: str, subject: str, after: int = 0) -> AsyncIterator[AsyncIterator[Received]]:
        """Stored messages, then live ones."""
        replay = Replay(self._connection, self._inbox, stream, subject, after, self._objects.payload)
        await replay.open()
        try:
            yield replay
        finally:
            await replay.close()

    async def last(self, stream: str, subject: str) -> Received | None:
        """The newest stored message on a subject; of a replicated stream, as one of the replicas has it."""
        return await stored(self._inbox, stream, {"last_by_subj": subject}, self._objects.payload)

    async def request(self, subject: str, payload: bytes, wait_s: float) -> Sequence[Received]:
        """Asks everyone who listens."""
        inbox = self._connection.new_inbox()
        gathered: list[Received] = []
        async with self.subscribe(inbox) as replies:
            await self.emit(subject, payload, {REPLY_TO: inbox})
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    async for reply in replies:
                        gathered.append(reply)  # noqa: PERF401 - a comprehension would lose them at the time limit
        return gathered

    async def read(self, key: str) -> Entry | None:
        """A ledger entry; its revision is its sequence in the stream."""
        found = await self.last(self._ledger, self._subjects.ledger(key))
        return None if found is None else Entry(found.payload, found.sequence)

    async def write(self, key: str, value: bytes, revision: int) -> int:
        """Replaces a revision of a ledger entry. Raises Conflict."""
        subject = self._subjects.ledger(key)
        headers = {wire.EXPECTED_REVISION: str(revision)}
        payload = await self._objects.fitting(value, headers, self.payload_limit_bytes)
        for attempt in range(ATTEMPTS):
            message = await self._inbox.ask_once(subject, payload, headers)
            if message is None or message.headers:
                continue
            reply = _reply.decode(message.data)
            if reply.error is None:
                return reply.seq
            error = wire.refusal(reply.error, self._subjects, subject, headers)
            if attempt and isinstance(error, Conflict):
                # An earlier attempt whose acknowledgement was lost may be the other writer.
                entry = await self.read(key)
                if entry is not None and entry.value == value and entry.revision > revision:
                    return entry.revision
            if not wire.unavailable(reply.error):
                raise error
        raise BusUnavailable(url=self._connection.url, reason=f"ledger entry {key} was not acknowledged")

    async def lag(self, consumer: Consumer) -> Lag:
        """How much work waits, of all lanes together. Raises Unknown if the consumer does not exist."""
        return Lag.sum(await asyncio.gather(*(self._lag(lane) for lane in consumer.each())))

    async def _lag(self, consumer: Consumer) -> Lag:
        subject = f"$JS.API.CONSUMER.INFO.{consumer.stream}.{consumer.name}"
        info = _consumer.decode((await self._inbox.ask(subject, b"")).data)
        self._check(info.error, f"consumer {consumer.name} of {consumer.stream}")
        ended = info.delivered.consumer_seq - info.num_ack_pending
        return Lag(info.num_pending, info.num_ack_pending, info.num_redelivered, ended)

    async def messages(self, stream: str) -> int:
        """How many messages a stream holds. Raises Unknown if it does not exist."""
        info = _stream.decode((await self._inbox.ask(f"$JS.API.STREAM.INFO.{stream}", b"")).data)
        self._check(info.error, f"stream {stream}")
        return info.state.messages

    async def remove(self, stream: str, sequence: int) -> None:
        """Deletes one stored message. Raises Unknown if it is not there."""
        what = f"message {sequence} of stream {stream}"
        if await stored(self._inbox, stream, {"seq": sequence}, self._objects.payload) is None:
            raise Unknown(name=what)
        self._check(await self._api(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence, "no_erase": True}), what)

    async def close(self) -> None:
        """Sends what is buffered and closes what this bus opened, not the connection."""
        await self._inbox.close()
        if self._client.is_connected:
            await self._connection.flush()

    async def _api(self, subject: str, body: Mapping[str, Any]) -> wire.Fault | None:
        return _reply.decode((await self._inbox.ask(f"$JS.API.{subject}", _encode(body))).data).error

    def _check(self, fault: wire.Fault | None, what: str) -> None:
        wire.checked(fault, what, self._connection.url)

    async def _ensure_consumer(self, consumer: Consumer) -> None:
        body = {"stream_name": consumer.stream, "config": configuration.consumer_config(consumer), "action": ""}
        subject = f"CONSUMER.CREATE.{consumer.stream}.{consumer.name}.{consumer.subject}"
        self._check(await self._api(subject, body), f"consumer {consumer.name} of {consumer.stream}")

    async def _ensure_stream(self, config: Mapping[str, Any]) -> None:
        name = config["name"]
        fault = await self._api(f"STREAM.CREATE.{name}", config)
        if fault is not None and fault.err_code == 10058:  # it exists with another configuration
            fault = await self._api(f"STREAM.UPDATE.{name}", config)
        self._check(fault, f"stream {name}")


@asynccontextmanager
async def connect(url: str, *, name: str, subjects: Subjects, wait_s: float = 2.0) -> AsyncIterator[JetStreamBus]:
    """A bus on a connection of its own, closed at the end.

    Raises BusUnavailable if nothing answers within `wait_s`; once connected, it reconnects for as long as it takes.
    """
    client = Client()
    trouble: Exception | None = None

    async def on_error(error: Exception) -> None:
        nonlocal trouble
        trouble = error
        _log.warning("nats: %s: %s", name, error or type(error).__name__)

    bus = JetStreamBus(client, subjects)
    try:
        try:
            async with asyncio.timeout(wait_s):
                await apart(
                    client.connect(
                        url.split(","),
                        name=name,
                        error_cb=on_error,
                        max_reconnect_attempts=-1,
                        ping_interval=_PING_S,
                        max_outstanding_pings=2,
                        reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # a float serves as well
                    )
                )
        except (TimeoutError, OSError, nats.errors.Error) as error:
            raise BusUnavailable(url=_shown(url), reason=str(trouble or error) or "no reply") from error
        yield bus
    finally:
        if client.is_connected or client.is_connecting or client.is_reconnecting:
            await _close(bus, client)


async def _close(bus: JetStreamBus, client: Client) -> None:
    await bus.close()
    try:
        await client.close()
    except (OSError, RuntimeError) as error:  # RuntimeError is what uvloop says of a closed socket
        # The server vanished while nats-py was connecting again: there is nothing left to close.
        _log.info("closed on a broken connection: %s", error, extra={"action": "close"})


def _shown(url: str) -> str:
    """The address without the credentials in it."""
    return ", ".join(urlsplit(part).netloc.rpartition("@")[2] or part for part in url.split(","))
