"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from metier.topics.ending import end

from .calls import House

T = TypeVar("T")

#: A silent stream says so this often, in seconds: proxies keep it open, and a client that is gone is noticed.
KEEP_ALIVE_S = 15.0
#: A client that lost its stream comes back after this long.
RETRY = b"retry: 500\n\n"
KEEP_ALIVE = b": still here\n\n"

MEDIA_TYPE = "text/event-stream"
#: A proxy must neither keep nor gather what is sent.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(data: bytes, name: str = "", id_: str = "") -> bytes:
    """One event. The data is compact JSON and so has no line ends."""
    head = (f"id: {id_}\n" if id_ else "") + (f"event: {name}\n" if name else "")
    return head.encode() + b"data: " + data + b"\n\n"


class Stream(StreamingResponse):
    """A response that lasts, and has a place in the house meanwhile."""

    def __init__(self, house: House, chunks: AsyncGenerator[bytes]) -> None:
        house.check_place()
        super().__init__(chunks, headers=HEADERS, media_type=MEDIA_TYPE)
        self._house = house
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the end, until the client is gone, or until the house closes: then the stream ends in order, and
        the client takes it up elsewhere."""
        sending = asyncio.create_task(self.stream_response(send))
        sides = (sending, asyncio.create_task(gone(receive)))
        with self._house.streaming(sending):
            try:
                await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
                if not sending.cancelled() and sending.done():
                    sending.result()
            finally:
                await end(*sides)
                await self._chunks.aclose()
        if self._house.closing:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def gone(receive: Receive) -> None:
    """Returns when the client has left. The body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def kept_alive(items: AsyncGenerator[T]) -> AsyncGenerator[T | None]:
    """The same, and None whenever nothing comes for a while."""
    pending = asyncio.ensure_future(anext(items))
    try:
        while True:
            done, _ = await asyncio.wait((pending,), timeout=KEEP_ALIVE_S)
            if not done:
                yield None
                continue
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            pending = asyncio.ensure_future(anext(items))
            yield item
    finally:
        await end(pending)
        await items.aclose()
