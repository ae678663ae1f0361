"""Models that answer at once, for tests of everything around a model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from metier.actors.engines.base import Completion, Piece, Prompt, Routing
from metier.actors.tools.base import Missing, Offer, Outcome, Request

#: Between two words of an engine with a gate: longer than an actor gathers words for.
WORD_S = 0.08


class InstantEncoder:
    """Calls for every specialist whose name the text contains; a text with a question mark is open, a whispered one
    private."""

    model = "instant encoder"

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    async def load(self) -> None: ...

    async def close(self) -> None: ...

    async def route(self, text: str) -> Routing:
        return Routing(
            specialists={name: 1.0 if name in text else 0.0 for name in self._names},
            open=1.0 if "?" in text else 0.0,
            private=1.0 if "psst" in text else 0.0,
            model=self.model,
            tokens=len(text.split()),
            seconds=0.0,
        )


class InstantEngine:
    """Says the same to everybody, after `pause_s`; fails as often as it is told to first.

    With a gate it says its first half word by word, and the rest once the gate is open.
    """

    model = "instant model"
    stand_in = False

    def __init__(
        self,
        says: Mapping[str, Any] | str,
        *,
        pause_s: float = 0.0,
        failures: int = 0,
        confidence: float = 1.0,
        gate: asyncio.Event | None = None,
    ) -> None:
        self.says = says if isinstance(says, str) else msgspec.json.encode(says).decode()
        self.pause_s = pause_s
        self.failures = failures
        self.confidence = confidence
        self.gate = gate
        self.prompts: list[Prompt] = []

    async def load(self) -> None: ...

    async def health(self) -> None: ...

    async def close(self) -> None: ...

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        self.prompts.append(prompt)
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the model broke")
        words = re.findall(r"\S+\s*", self.says)
        for word in words[: len(words) // 2] if self.gate else ():
            yield Piece(word)
            await asyncio.sleep(WORD_S)
        if self.gate:
            await self.gate.wait()
            yield Piece("".join(words[len(words) // 2 :]))
        else:
            yield Piece(self.says)
        yield Completion(
            text=self.says,
            model=self.model,
            prompt_tokens=8,
            output_tokens=4,
            seconds=self.pause_s,
            confidence=self.confidence,
        )


class EchoTool:
    """Returns what it was told, and the findings it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ran = 0
        #: A word that the request must have: without it the tool asks for it.
        self.asks = ""

    def offer(self, request: Request) -> Offer | None:
        schema = {"type": "object", "properties": {}, "additionalProperties": True}
        return Offer(name=self.name, schema=schema, brief=f"{self.name}()")

    async def call(self, said: Mapping[str, Any], request: Request) -> Outcome:
        if self.asks not in request.text:
            raise Missing(self.asks)
        self.ran += 1
        heard = {node: finding.text for node, finding in request.inputs.items()}
        text = f"{self.name} did {request.text!r}" + (f" after {', '.join(sorted(heard))}" if heard else "")
        return Outcome(text=text, data={"heard": heard}, arguments=dict(said))

    async def close(self) -> None: ...
