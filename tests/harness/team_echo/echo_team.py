"""Instant models for the echo team: what a test says is what they do."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from metier.actors.engines.base import Completion, Piece, Prompt, Routing
from metier.actors.tools.base import Offer, Outcome, Request


class EchoEngine:
    """Answers with the words of the request, after as many seconds as it names: "slow 2"; as sure as it says."""

    model = "echo"
    stand_in = False

    async def load(self) -> None:
        pass

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        began, text = time.perf_counter(), prompt.turns[-1].content
        await asyncio.sleep(seconds(text))
        said = msgspec.json.encode({"words": text}).decode() if prompt.schema else text
        if not prompt.schema:
            for word in text.split():
                yield Piece(f"{word} ")
        yield Completion(
            text=said,
            model=self.model,
            prompt_tokens=1,
            output_tokens=1,
            seconds=time.perf_counter() - began,
            confidence=seconds(text, "sure") or None,
        )

    async def health(self) -> None:
        pass

    async def close(self) -> None:
        pass


class WordEncoder:
    """Calls the specialists a request names; calls it open if it says so; thinks as long as it says: "think 2"."""

    model = "words"

    async def load(self) -> None:
        pass

    async def route(self, text: str) -> Routing:
        words = set(re.findall(r"\w+", text))
        await asyncio.sleep(seconds(text, "think"))
        return Routing(
            specialists={name: float(name in words) for name in ("one", "two", "three", "joiner")},
            open=float("open" in words),
            model=self.model,
            tokens=len(words),
            seconds=0.0,
        )

    async def close(self) -> None:
        pass


def seconds(text: str, word: str = "slow") -> float:
    """The number after a word, or none."""
    found = re.search(rf"{word} (\d+(?:\.\d+)?)", text)
    return float(found[1]) if found else 0.0


def repeat(words: str) -> str:
    return words


class Join:
    """What the inputs said, in order."""

    name = "join"

    def offer(self, request: Request) -> Offer:
        schema = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
        return Offer(name=self.name, brief="join(words)", schema=schema)

    async def call(self, said: Mapping[str, Any], request: Request) -> Outcome:
        texts = [f"{node}={finding.text}" for node, finding in sorted(request.inputs.items())]
        return Outcome(text=" ".join(texts), data=texts, arguments=dict(said))

    async def close(self) -> None:
        pass
