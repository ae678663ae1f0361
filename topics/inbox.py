"""Requests to JetStream and their replies: one subscription for all of them."""

from __future__ import annotations

import asyncio

import msgspec

from .errors import BusUnavailable
from .wire import STATUS, Connection, Message, Reply, Subscription, unavailable

#: A reply that took longer than this, at most twice this, is taken for lost.
SWEEP_S = 1.5
ATTEMPTS = 5
PAUSE_S = 0.25

_reply = msgspec.json.Decoder(Reply)


class Inbox:
    """Sends requests and hands each reply to who waits for it.

    One subscription on `<inbox>.*`, one future per request, one timer for all of them: a request costs no task and no
    timer of its own.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prefix = connection.new_inbox() + "."
        self._skip = len(self._prefix)
        self._count = 0
        self._swept = 0
        self._waiting: dict[str, asyncio.Future[Message | None]] = {}
        self._subscription: Subscription | None = None
        self._opening = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Message:
        """The reply, asked for again while none comes or JetStream has no leader. Raises BusUnavailable."""
        reason = ""
        for attempt in range(ATTEMPTS):
            message = await self.ask_once(subject, payload, headers)
            if message is None:
                reason = f"no reply to {subject} in {ATTEMPTS} attempts"
                continue
            trouble = _trouble(message)
            if trouble is None:
                return message
            reason = f"{subject}: {trouble}"
            await asyncio.sleep(PAUSE_S * (attempt + 1))
        raise BusUnavailable(url=self._connection.url, reason=reason)

    async def ask_once(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Message | None:
        """The reply, or None if it did not come in time: the request may or may not have been heard."""
        if self._subscription is None:
            await self._open()
        self._count += 1
        token = str(self._count)
        future = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        if self._timer is None:
            self._arm()
        try:
            await self._connection.publish(subject, payload, self._prefix + token, headers)
            message: Message | None = await future
            return message
        finally:
            self._waiting.pop(token, None)

    def unique(self) -> str:
        """A name nobody else has."""
        self._count += 1
        return f"{self._prefix[7:]}{self._count}"

    async def close(self) -> None:
        """Stops listening; whoever still waits is told that nothing came."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)
        if self._subscription is not None:
            await self._connection.leave(self._subscription)
            self._subscription = None

    async def _open(self) -> None:
        async with self._opening:
            if self._subscription is None:
                self._subscription = await self._connection.subscribe(self._prefix + "*", self._on_reply)

    async def _on_reply(self, message: Message) -> None:
        future = self._waiting.get(message.subject[self._skip :])
        if future is not None and not future.done():
            future.set_result(message)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Gives up on requests that waited at the last sweep already. Tokens count up: the oldest come first."""
        for token, future in self._waiting.items():
            if int(token) > self._swept:
                break
            if not future.done():
                future.set_result(None)
        self._swept = self._count
        self._timer = None
        if self._waiting:
            self._arm()


def _trouble(message: Message) -> str | None:
    """Why a reply is worth asking again for; None if it is an answer."""
    data, headers = message.data, message.headers
    if headers:
        return "no stream or consumer of that name answers" if not data and headers.get(STATUS) == "503" else None
    if b'"error":' not in data:
        return None
    fault = _reply.decode(data).error
    return fault.description if fault is not None and unavailable(fault) else None
