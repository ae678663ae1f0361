"""A connection of the NATS library as what speaks the protocol here needs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from . import wire
from .errors import BusUnavailable

_log = logging.getLogger(__name__)

#: How long a message that nobody waits for waits for another one to go with, in seconds.
LATER_S = 0.02


class Connection:
    """A NATS client as `wire.Connection`: its errors become Metier's."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: list[tuple[str, bytes]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.new_inbox = client.new_inbox

    @property
    def url(self) -> str:
        """Where it connects to."""
        return ", ".join(f"{server.hostname}:{server.port}" for server in self._client.servers)

    @property
    def connects(self) -> int:
        """How often it connected again."""
        return self._client.stats["reconnects"]

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Sends one message. Raises BusUnavailable."""
        if self._later:
            await self._send_later()
        try:
            await self._client.publish(subject, payload, reply, headers)
        except nats.errors.Error as error:
            raise BusUnavailable(url=self.url, reason=str(error)) from error

    async def publish_later(self, subject: str, payload: bytes) -> None:
        """Sends a message that nobody waits for: with the next one, or alone after LATER_S."""
        if not self._later:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LATER_S, lambda: self._kept(self._send_later()))
        self._later.append((subject, payload))

    async def subscribe(self, subject: str, callback: wire.Callback, group: str = "") -> Subscription:
        """Listens. Raises BusUnavailable."""
        try:
            return await self._client.subscribe(subject, group, callback)
        except nats.errors.Error as error:
            raise BusUnavailable(url=self.url, reason=str(error)) from error

    async def leave(self, subscription: wire.Subscription, drain: bool = False) -> None:
        """Listens no more; `drain` hears first what the server had sent."""
        assert isinstance(subscription, Subscription)
        if self._client.is_closed or self._client.is_draining:
            return
        if drain and self._client.is_connected:
            await self._to_its_end(subscription.drain())  # type: ignore[no-untyped-call]
        else:
            await subscription.unsubscribe()

    async def flush(self) -> None:
        """Returns once the server has all that was sent. Raises BusUnavailable."""
        await self._send_later()
        try:
            await self._to_its_end(self._client.flush())
        except nats.errors.Error as error:
            raise BusUnavailable(url=self.url, reason=str(error)) from error

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Awaits what asks the server for a sign, which goes on without who stops waiting for it.

        The library reads nothing more from a connection, and says so to nobody, once it gets the PONG of a question
        that was cancelled.
        """
        await asyncio.shield(self._kept(work))

    def _kept(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send_later(self) -> None:
        later, self._later = self._later, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            for subject, payload in later:
                await self._client.publish(subject, payload)
        except nats.errors.Error as error:
            _log.warning("%d acknowledgements are lost, their messages come again: %s", len(later), error)
