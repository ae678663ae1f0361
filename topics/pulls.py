"""An open pull on a JetStream consumer, and the deliveries that come of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from .bus import Delivery
from .errors import MetierError
from .streams import Consumer
from .wire import (
    ACK,
    DESCRIPTION,
    EXPIRES_S,
    HEARTBEAT_S,
    IN_PROGRESS,
    PENDING,
    REFERENCE,
    STATUS,
    TERM,
    Connection,
    Message,
    Receipt,
    Subscription,
    nak,
    next_request,
)

_log = logging.getLogger(__name__)

TICK_S = 1.0
#: Two heartbeats and a little: silence this long means that the server has forgotten the request.
_SILENCE_S = 2 * HEARTBEAT_S + 2

Resolve = Callable[[Message], Awaitable[bytes]]


class JetStreamDelivery:
    """A message of a consumer. Its acknowledgements are published, not confirmed: a lost one means a redelivery."""

    __slots__ = ("_connection", "_message", "_receipt")

    def __init__(self, connection: Connection, message: Message) -> None:
        self._connection = connection
        self._message = message
        self._receipt: Receipt | None = None

    @property
    def subject(self) -> str:
        """The subject it was stored under."""
        return self._message.subject

    @property
    def payload(self) -> bytes:
        """Its bytes, fetched from the object store if they were too many for a message."""
        return self._message.data

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, those of NATS included."""
        return self._message.headers or {}

    @property
    def sequence(self) -> int:
        """Its place in the stream."""
        return self._read().sequence

    @property
    def at(self) -> dt.datetime:
        """When the stream stored it, in UTC."""
        return self._read().at

    @property
    def attempt(self) -> int:
        """How often it was delivered, from 1."""
        return self._receipt.attempt if self._receipt else Receipt.attempt_of(self._message.reply)

    async def ack(self) -> None:
        """The work queue forgets it."""
        await self._connection.publish_later(self._message.reply, ACK)

    async def nak(self, delay_s: float = 0) -> None:
        """It comes again after the delay."""
        await self._connection.publish(self._message.reply, nak(delay_s))

    async def term(self) -> None:
        """It never comes again."""
        await self._connection.publish(self._message.reply, TERM)

    async def in_progress(self) -> None:
        """Its ack wait starts anew."""
        await self._connection.publish(self._message.reply, IN_PROGRESS)

    def _read(self) -> Receipt:
        if self._receipt is None:
            self._receipt = Receipt.parse(self._message.reply)
        return self._receipt


async def resolved(delivery: JetStreamDelivery, message: Message, resolve: Resolve) -> bool:
    """Whether the payload is there; one kept elsewhere is read, and handed back with its message if that fails."""
    if message.headers is None or REFERENCE not in message.headers:
        return True
    try:
        message.data = await resolve(message)
    except MetierError as error:
        _log.warning("%s is handed back: its payload cannot be read now: %s", message.subject, error)
        await delivery.nak(TICK_S)
        return False
    return True


class OpenPull(ABC):
    """An open pull, however it asks: it listens, waits for the first message, and hands back what is too much."""

    def __init__(self, connection: Connection, resolve: Resolve) -> None:
        self._connection = connection
        self._resolve = resolve
        self._arrived: deque[JetStreamDelivery] = deque()
        self._connects = connection.connects
        self._ticked_at = self._pause_until = 0.0
        self._trouble = ""
        self._waiter: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    #: What is added to the inbox to listen to.
    _within = ""

    async def open(self) -> None:
        """Starts listening; nothing is asked for yet."""
        self._inbox = self._connection.new_inbox()
        self._subscription = await self._connection.subscribe(self._inbox + self._within, self._on_message)
        self._timer = self._loop.call_later(TICK_S, self._tick)

    async def fetch(self, room: int) -> Sequence[Delivery]:
        """Waits for the first message, then returns what has arrived, at most `room` messages."""
        while True:
            if self._asked() and self._asked() + len(self._arrived) > room:
                await self._withdraw(room)
            if self._loop.time() >= self._pause_until:
                await self._ask(room)
            if self._arrived:
                return [self._arrived.popleft() for _ in range(min(room, len(self._arrived)))]
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def close(self) -> None:
        """Stops listening and hands back what arrived and was not fetched."""
        await self._stop()
        await self._hand_back(0)

    @abstractmethod
    def _asked(self) -> int:
        """How many messages were asked for and have not arrived."""

    @abstractmethod
    async def _ask(self, room: int) -> None:
        """Asks for what there is room for, as far as it was not asked for."""

    @abstractmethod
    def _forget(self) -> None:
        """The server knows of no request any more."""

    @abstractmethod
    async def _on_message(self, message: Message) -> None:
        """Takes a message, or what the server says of a request."""

    @abstractmethod
    def _look(self, now: float, *, busy: bool) -> None:
        """Every second: notices what the server has forgotten; `busy` if this process was, not the server silent."""

    async def _withdraw(self, room: int) -> None:
        """A caller with less room than before: requests cannot be shortened, so the subscription ends and begins."""
        await self._stop()
        await self._hand_back(room)
        await self.open()

    async def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self._connection.leave(subscription, drain=self._asked() > 0)
        self._forget()

    async def _hand_back(self, room: int) -> None:
        while len(self._arrived) > room:
            await self._arrived.pop().nak()

    async def _take(self, message: Message) -> None:
        delivery = JetStreamDelivery(self._connection, message)
        if await resolved(delivery, message, self._resolve):
            self._arrived.append(delivery)

    def _pause(self, subject: str, headers: Mapping[str, str]) -> None:
        """A request was refused or broken off, or there is no such consumer."""
        self._pause_until = self._loop.time() + TICK_S / 2
        trouble = f"{headers.get(STATUS, '')} {headers.get(DESCRIPTION, 'no such consumer').strip()}"
        if trouble != self._trouble:
            _log.warning("pull on %s: %s", subject, trouble)
        self._trouble = trouble

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        now = self._loop.time()
        busy, self._ticked_at = now - self._ticked_at > 3 * TICK_S, now
        if self._connects != self._connection.connects:
            self._forget()
        else:
            self._look(now, busy=busy)
        self._connects = self._connection.connects
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class JetStreamPull(OpenPull):
    """Keeps as many messages asked for as the caller has room for, never more.

    `_credit` counts what was asked for and has not arrived. The server takes from it: by delivering, by a status that
    says how much of a request it gave up, or by forgetting everything (reconnect, change of leader, consumer deleted),
    which shows as silence, because a live request sends a heartbeat every HEARTBEAT_S.
    """

    def __init__(self, connection: Connection, consumer: Consumer, resolve: Resolve) -> None:
        super().__init__(connection, resolve)
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}"
        self._expires_s = consumer.asks_for_s(EXPIRES_S)
        self._credit = 0
        self._asked_at = self._heard_at = 0.0

    def _asked(self) -> int:
        return self._credit

    async def _ask(self, room: int) -> None:
        """Half a room at a time: a request for every message would cost as much as the message."""
        held = self._credit + len(self._arrived)
        if held <= room // 2:
            self._credit += room - held
            self._asked_at = self._heard_at = self._loop.time()
            await self._connection.publish(self._next, next_request(room - held, self._expires_s), self._inbox)

    def _forget(self) -> None:
        self._credit = 0

    async def _on_message(self, message: Message) -> None:
        self._heard_at = self._loop.time()
        if message.reply:
            # A request that was given up for lost may still be served: never below zero.
            self._credit = max(0, self._credit - 1)
            await self._take(message)
        else:
            self._on_status(message.headers or {})
        self._wake()

    def _on_status(self, headers: Mapping[str, str]) -> None:
        """100: a heartbeat. 404 and 408: a request ended. 409 and 503: it was refused, or there is no consumer."""
        status = headers.get(STATUS, "")
        if status == "100":
            return
        pending = headers.get(PENDING)
        self._credit = max(0, self._credit - int(pending)) if pending else 0
        if status not in ("404", "408"):
            self._pause(self._next, headers)

    def _look(self, now: float, *, busy: bool) -> None:
        if busy:
            self._heard_at = now
        if now - self._heard_at > _SILENCE_S or now - self._asked_at > self._expires_s + HEARTBEAT_S:
            self._forget()
