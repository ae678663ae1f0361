"""Reading a stream, or live messages, without the duty to settle."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec

from .bus import REPLY_TO, Received
from .configuration import replay_config
from .errors import Refused
from .inbox import Inbox
from .wire import (
    HEARTBEAT_S,
    LAST_CONSUMER,
    REFERENCE,
    STATUS,
    Connection,
    ConsumerInfo,
    Message,
    Receipt,
    Subscription,
    checked,
    parse_rfc3339,
)

Resolve = Callable[[Message], Awaitable[bytes]]

_TICK_S = 1.0
_SILENCE_S = 2 * HEARTBEAT_S + 2

_info = msgspec.json.Decoder(ConsumerInfo)


class Live(AsyncIterator[Received]):
    """Core messages on a subject as they come."""

    def __init__(
        self, connection: Connection, subject: str, resolve: Resolve, *, confirmed: bool = True, group: str = ""
    ) -> None:
        self._connection = connection
        self._confirmed = confirmed
        self._group = group
        self._subject = subject
        self._resolve = resolve
        self._arrived: deque[Message] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Returns when the server knows of the interest; else it learns of it before all that is sent later."""
        self._subscription = await self._connection.subscribe(self._subject, self._on_message, self._group)
        if self._confirmed:
            await self._connection.flush()

    async def close(self) -> None:
        """Ends interest."""
        if self._subscription is not None:
            await self._connection.leave(self._subscription)

    async def __anext__(self) -> Received:
        message = await self._next()
        return await received(message, self._resolve)

    async def _next(self) -> Message:
        while not self._arrived:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._arrived.popleft()

    async def _on_message(self, message: Message) -> None:
        self._arrived.append(message)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Replay(Live):
    """A stream from a sequence on, in order, without gap.

    A short-lived consumer pushes; its own count of what it sent shows a gap, its heartbeats show that it lives. After
    either, or a new connection, another consumer takes up where this one stopped.
    """

    def __init__(self, connection: Connection, inbox: Inbox, stream: str, subject: str, after: int, resolve: Resolve):
        super().__init__(connection, subject, resolve)
        self._inbox = inbox
        self._stream = stream
        self._last = after
        self._expected, self._seen = 1, 0
        self._consumer = ""
        self._connects = connection.connects
        self._heard_at = 0.0

    async def open(self) -> None:
        """Starts the consumer."""
        deliver = self._connection.new_inbox()
        self._subscription = await self._connection.subscribe(deliver, self._on_message)
        self._expected, self._seen = 1, 0
        self._connects = self._connection.connects
        self._heard_at = asyncio.get_running_loop().time()
        self._consumer = f"replay-{uuid.uuid4().hex[:16]}"
        body = {
            "stream_name": self._stream,
            "config": {"name": self._consumer, **replay_config(self._subject, deliver, self._last)},
        }
        create = f"$JS.API.CONSUMER.CREATE.{self._stream}.{self._consumer}.{self._subject}"
        reply = await self._inbox.ask(create, msgspec.json.encode(body))
        checked(_info.decode(reply.data).error, f"{self._subject} in stream {self._stream}", self._connection.url)

    async def close(self) -> None:
        """Removes the consumer."""
        await super().close()
        await self._connection.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}", b"")

    async def _next(self) -> Message:
        while True:
            while not self._arrived:
                if self._lost():
                    await self._restart()
                await self._pause()
            message = self._arrived.popleft()
            receipt = Receipt.parse(message.reply)
            if receipt.consumer_sequence != self._expected:
                await self._restart()
                continue
            self._expected += 1
            self._last = receipt.sequence
            return message

    async def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(_TICK_S, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()

    def _lost(self) -> bool:
        silence_s = asyncio.get_running_loop().time() - self._heard_at
        return silence_s > _SILENCE_S or self._connects != self._connection.connects

    async def _restart(self) -> None:
        await self.close()
        self._arrived.clear()
        await self.open()

    async def _on_message(self, message: Message) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if message.reply:
            self._seen += 1
            self._arrived.append(message)
            self._wake()
        elif int((message.headers or {}).get(LAST_CONSUMER, self._seen)) != self._seen:
            # A heartbeat that counts more than came: the last messages were lost on the way.
            self._heard_at = 0.0


async def received(message: Message, resolve: Resolve) -> Received:
    """A message as it was read. A consumer says its place in the reply subject, a direct get in headers."""
    headers = message.headers or {}
    payload = await resolve(message) if REFERENCE in headers else message.data
    if message.reply.startswith("$JS.ACK."):
        receipt = Receipt.parse(message.reply)
        return Received(message.subject, payload, headers, receipt.sequence, receipt.at)
    if "Nats-Time-Stamp" in headers:
        at = parse_rfc3339(headers["Nats-Time-Stamp"])
        return Received(headers["Nats-Subject"], payload, headers, int(headers["Nats-Sequence"]), at)
    return Received(message.subject, payload, headers, reply_to=message.reply or headers.get(REPLY_TO, ""))


async def stored(inbox: Inbox, stream: str, which: Mapping[str, object], resolve: Resolve) -> Received | None:
    """One stored message, by `seq` or `last_by_subj`; None if there is none. Raises BusUnavailable or Refused."""
    message = await inbox.ask(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(which))
    status = (message.headers or {}).get(STATUS)
    if status is None:
        return await received(message, resolve)
    if status == "404":
        return None
    raise Refused(reason=f"stream {stream}: {status}")
