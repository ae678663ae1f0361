"""One connection's HTTP/1.1, with what uvicorn leaves open: a request's head is bounded, in bytes and in time."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .problems import MEDIA_TYPE, Problem

#: Request line and headers together.
HEAD_BYTES = 64 * 1024


class Connection(HttpToolsProtocol):
    """Closes on who sends no head, or no end of one; says why as a problem."""

    #: Seconds from the first byte of a head, or from connecting, to its end.
    head_s = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = False
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._no_longer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads on; whoever is still within a head afterwards has little time left."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(Problem(431, f"Request line and headers are larger than {HEAD_BYTES} bytes."))
        elif self._late is None:
            self._wait()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """A head ends."""
        self._in_head = False
        self._no_longer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is not HTTP."""
        self._refuse(Problem(400, msg, kind="malformed-request"))

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.head_s, self._gave_up)

    def _no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _gave_up(self) -> None:
        self._late = None
        if self._in_head:
            self._refuse(Problem(408, f"The headers did not come within {self.head_s:g} s."))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        content = msgspec.json.encode(problem.details())
        head = (
            f"HTTP/1.1 {problem.status.value} {problem.status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()


def within(head_s: float) -> type[Connection]:
    """Connections whose heads have so long."""
    return type("Connection", (Connection,), {"head_s": head_s})
