"""A connection of the NATS library as what speaks the protocol here needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from . import wire
from .errors import BusUnavailable


class Connection:
    """A NATS client as `wire.Connection`: its errors become Metier's."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked: set[asyncio.Task[None]] = set()
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
        try:
            await self._client.publish(subject, payload, reply, headers)
        except nats.errors.Error as error:
            raise BusUnavailable(url=self.url, reason=str(error)) from error

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
        try:
            await self._to_its_end(self._client.flush())
        except nats.errors.Error as error:
            raise BusUnavailable(url=self.url, reason=str(error)) from error

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Awaits what asks the server for a sign, which goes on without who stops waiting for it.

        The library reads nothing more from a connection, and says so to nobody, once it gets the PONG of a question
        that was cancelled.
        """
        task = asyncio.ensure_future(work)
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        await asyncio.shield(task)
