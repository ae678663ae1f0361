"""What each specialist and tier used, counted from the stream of usages."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable

import msgspec

from metier.topics.bus import Bus
from metier.topics.codec import decode
from metier.topics.messages import State, Tokens, Usage
from metier.topics.streams import USAGE
from metier.topics.subjects import Subjects

#: The count begins this many usages ago.
REMEMBERED = 100_000
#: One look reads no more than this many.
CHUNK = 20_000
#: A stored usage that does not come within this time was forgotten while it was read.
NEXT_S = 2.0


class Spent(msgspec.Struct, kw_only=True):
    """The sum for one specialist or tier."""

    runs: int = 0
    #: Of those, without a result.
    failed: int = 0
    seconds: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    #: The same tokens priced as the team's dearest tier.
    large_model_usd: float = 0.0

    def add(self, usage: Usage, price: Callable[[Tokens], float]) -> None:
        """Takes one more."""
        self.runs += 1
        self.failed += usage.state in (State.FAILED, State.EXPIRED)
        self.seconds += usage.seconds
        for tokens in usage.tokens:
            self.prompt_tokens += tokens.prompt
            self.output_tokens += tokens.output
            self.usd += tokens.cost_usd
            self.large_model_usd += price(tokens)


class Books:
    """The sums of all, which go on from where they were read last."""

    def __init__(self, price: Callable[[Tokens], float]) -> None:
        self.of: dict[str, Spent] = {}
        #: When the first usage that counts was stored.
        self.since: dt.datetime | None = None
        self._price = price
        self._after: int | None = None
        self._reading = asyncio.Lock()

    async def read(self, bus: Bus, subjects: Subjects) -> None:
        """Counts what came since, a chunk of it at most."""
        async with self._reading:
            newest = await bus.last(subjects.stream(USAGE), subjects.everything("usage"))
            last = newest.sequence if newest else 0
            if self._after is None or self._after > last:  # the first time, or a stream that was made anew
                self._after, self.of, self.since = max(0, last - REMEMBERED), {}, None
            until = min(last, self._after + CHUNK)
            if until > self._after:
                await self._count(bus, subjects, until)

    async def _count(self, bus: Bus, subjects: Subjects, until: int) -> None:
        assert self._after is not None
        async with bus.replay(subjects.stream(USAGE), subjects.everything("usage"), self._after) as stored:
            while self._after < until:
                try:
                    async with asyncio.timeout(NEXT_S):
                        received = await anext(stored)
                except TimeoutError:
                    self._after = until
                    break
                usage = decode(received.payload, Usage, received.headers)
                self.of.setdefault(usage.name, Spent()).add(usage, self._price)
                self.since, self._after = self.since or received.at, received.sequence
