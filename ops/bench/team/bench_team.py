"""Models that return at once: what is left is the way of a task."""

from __future__ import annotations

from collections.abc import AsyncIterator

from metier.actors.engines.base import Completion, Piece, Prompt, Routing

#: Those of both teams: in parallel, and in a chain.
NAMES = ("red", "green", "blue", "first", "second", "third")


class Instant:
    """Fills in the one argument of `say`."""

    model = "instant"
    stand_in = False

    async def load(self) -> None:
        """Has nothing to load."""

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """The same words for everybody."""
        yield Completion(
            text='{"words":"done"}',
            model=self.model,
            prompt_tokens=8,
            output_tokens=4,
            seconds=0.0,
            confidence=1.0,
        )

    async def health(self) -> None:
        """Is well."""

    async def close(self) -> None:
        """Holds nothing."""


class InstantEncoder:
    """Calls the specialists that a text names."""

    model = "instant encoder"

    async def load(self) -> None:
        """Has nothing to load."""

    async def route(self, text: str) -> Routing:
        """Certain of every word."""
        words = set(text.split())
        return Routing(
            specialists={name: float(name in words) for name in NAMES},
            open=0.0,
            model=self.model,
            tokens=len(words),
            seconds=0.0,
        )

    async def close(self) -> None:
        """Holds nothing."""


async def say(words: str) -> str:
    """Says the words. Async: a function that may block is called in a thread, which is that function's own cost."""
    return words
