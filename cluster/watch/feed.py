"""One source for all who watch: it works while somebody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

from metier.topics.ending import end
from metier.topics.errors import MetierError, Unavailable

#: Makes what is shown now; None: it is as it was.
Make = Callable[[], Awaitable[bytes | None]]
#: What runs while somebody watches.
Beside = Callable[[], Coroutine[None, None, None]]

#: One look may take so long: whoever watches is then told, not left with an old picture.
LOOK_S = 4.0


class Feed:
    """The newest of what is made every so often, for any number of watchers; a slow one misses what was between.

    While the source fails, watchers get the error, and it is tried again.
    """

    def __init__(self, make: Make, every_s: float, beside: Beside | None = None) -> None:
        self._make = make
        self._beside = beside
        self._every_s = every_s
        self._watchers = 0
        self._newest: bytes | MetierError | None = None
        self._next: asyncio.Future[bytes | MetierError] | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody watches."""
        return not self._watchers

    async def watch(self) -> AsyncGenerator[bytes | MetierError]:
        """What there is, then whatever comes. Close it to leave."""
        self._watchers += 1
        if self._running is None or self._running.done():
            self._newest = None
            self._running = asyncio.create_task(self._run())
        try:
            if self._newest is not None:
                yield self._newest
            while True:
                yield await self._coming()
        finally:
            self._watchers -= 1
            if not self._watchers:
                await end(self._running)

    async def _coming(self) -> bytes | MetierError:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._next)

    async def _run(self) -> None:
        loop, beside = asyncio.get_running_loop(), None
        try:
            while True:
                if self._beside is not None and (beside is None or beside.done()):
                    beside = asyncio.create_task(self._beside())
                next_at = loop.time() + self._every_s
                await self._round()
                await asyncio.sleep(next_at - loop.time())
        finally:
            if beside is not None:
                await end(beside)

    async def _round(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                made: bytes | MetierError | None = await self._make()
        except MetierError as error:
            made = error
        except TimeoutError:
            made = Unavailable(what="The bus", reason=f"it did not answer within {LOOK_S:g} s")
        if made is None:
            return
        self._newest = made
        if self._next is not None:
            self._next.set_result(made)
            self._next = None
