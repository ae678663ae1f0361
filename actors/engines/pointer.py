"""The pointer engine: calls of tools by an encoder that points at the words of each argument.

It answers the prompts that `prompts.py` makes, and only those: the tools in the first turn, the request in the last,
and a JSON Schema of the call. It makes the JSON of one pass over both (`pointing.py`): a value is what scores best
among those that the schema allows. One base encoder serves any number of adapters; each has a folder of its own:

    adapter/             a PEFT LoRA of the encoder, merged into a copy of its layers at load
    heads.safetensors    the weights of `Pointer.heads`
    calibration.json     what its confidence means (`calibration.py`); may be absent
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from metier.topics.errors import EngineFailed

from ..tools.base import spans
from . import calibration
from .base import Completion, Piece, Prompt, failing
from .batch import Batcher
from .hardware import chosen, read_in
from .reading import Reading, read
from .sources import required

if TYPE_CHECKING:
    from .pointing import Allowed, Pointer, Scores


#: Powers of the probabilities of what an argument is, and of its being left out, in how sure a call is: what was left
#: out is the commoner mistake. Chosen on held-out calls (`ops/evaluation.md`).
_SAID, _LEFT = 0.5, 2.0


class PointerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which encoder, and how it is run."""

    #: Directory of the base encoder, a BertModel.
    path: str
    #: The model as it is shown.
    name: str
    #: Folders of what was trained, by the name prompts use. The first answers prompts that name none.
    adapters: dict[str, str]
    max_batch: int = 16
    #: How long the first prompt of a batch waits for others.
    wait_ms: float = 2
    #: Threads of one pass; 0 leaves it to torch: one for each core.
    threads: int = 1
    #: "auto" is bfloat16 where the processor multiplies it.
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


class Question(msgspec.Struct, frozen=True):
    """A prompt as it is answered: what is read, and by which adapter."""

    adapter: str
    reading: Reading


class PointerEngine:
    """Engine on an encoder. Prompts that come together share a pass if they have the same adapter."""

    def __init__(self, settings: PointerSettings) -> None:
        self._settings = settings
        self._batcher: Batcher[Question, Scores] = Batcher(
            self._answer, largest=settings.max_batch, wait_ms=settings.wait_ms
        )
        self._pointers: dict[str, Pointer] = {}
        self._calibrations: dict[str, calibration.Calibration | None] = {}

    @property
    def model(self) -> str:
        """The model as it is shown."""
        return self._settings.name

    @property
    def stand_in(self) -> bool:
        """Never: it knows one trade."""
        return False

    async def load(self) -> None:
        """Reads the base and what was trained. Raises ModelMissing or EngineFailed."""
        required(self._settings.path, self.model)
        with failing(self.model):
            await asyncio.to_thread(read_in, self._load, self._settings.threads)

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """The whole call as one piece, then the completion. Raises EngineFailed."""
        started = time.perf_counter()
        adapter = prompt.adapter or next(iter(self._settings.adapters), "")
        if adapter not in self._pointers:
            known = ", ".join(self._settings.adapters) or "none"
            reason = f"it has no adapter {adapter!r}; it has {known}" if self._pointers else "it is not loaded"
            raise EngineFailed(model=self.model, reason=reason)
        with failing(self.model):
            scores = await self._batcher.submit(Question(adapter, read(prompt.turns)))
            tool, text, least, joint = _call(scores, prompt.schema or {})
        line = self._calibrations[adapter]
        yield Piece(text)
        yield Completion(
            text=text,
            model=self.model,
            prompt_tokens=scores.ends.shape[-1],
            output_tokens=self._pointers[adapter].length(text),
            seconds=time.perf_counter() - started,
            confidence=line.of(joint, tool) if line else least,
            joint=joint,
        )

    async def health(self) -> None:
        """Returns if the model is loaded. Raises EngineFailed."""
        if not self._pointers:
            raise EngineFailed(model=self.model, reason="it is not loaded")

    async def close(self) -> None:
        """Ends what runs and frees the model."""
        await self._batcher.close()
        self._pointers = {}

    def _load(self) -> None:
        from .packing import pack
        from .pointing import load

        settings = self._settings
        folders = {name: Path(path) for name, path in settings.adapters.items()}
        self._calibrations = {name: calibration.read(folder, self.model) for name, folder in folders.items()}
        self._pointers = load(Path(settings.path), folders, chosen(settings.dtype), self.model)
        for pointer in self._pointers.values():
            pack(pointer.encoder)

    def _answer(self, asked: list[Question]) -> list[Scores]:
        import torch

        made: dict[int, Scores] = {}
        for adapter in dict.fromkeys(each.adapter for each in asked):
            own = [place for place, each in enumerate(asked) if each.adapter == adapter]
            with torch.inference_mode():
                found = self._pointers[adapter]([asked[place].reading for place in own])
            made |= dict(zip(own, found, strict=True))
        return [made[place] for place in range(len(asked))]


def _call(scores: Scores, schema: dict[str, Any]) -> tuple[str, str, float, float]:
    """The likeliest call that a schema of `prompts.call_schema` allows: the tool, or nothing, and all of it as JSON;
    the least of the probabilities it is made of, and their weighted product. Raises ValueError for another schema."""
    import torch

    from .pointing import fill

    tools = scores.reading.tools
    parts = schema.get("anyOf", [schema])
    named = {part["properties"]["tool"]["const"]: part for part in parts if "const" in _tool(part)}
    refused = any(_tool(part).get("type") == "null" for part in parts)
    allowed = [tool.name in named or not (named or refused) for tool in tools] + [refused]
    fits = scores.tools.masked_fill(~torch.tensor(allowed), float("-inf")).softmax(0)
    best = int(fits.argmax())
    if best == len(tools):
        return "", msgspec.json.encode({"tool": None}).decode(), float(fits[best]), float(fits[best])
    tool = tools[best]
    own = named[tool.name]["properties"]["arguments"] if named else schema
    found = fill(scores, tool, {name: _allowed(part, scores.reading.text) for name, part in own["properties"].items()})
    arguments = {name: found[name].value if name in found else None for name in own["properties"]}
    chances = [float(fits[best]), *(each.chance for each in found.values())]
    call = {"tool": tool.name, "arguments": arguments} if named else arguments
    sure = chances[0] * math.prod(each.chance ** (_LEFT if each.value is None else _SAID) for each in found.values())
    return tool.name, msgspec.json.encode(call).decode(), min(chances), sure


def _allowed(schema: dict[str, Any], text: str) -> Allowed:
    """What a property of an offer may be. Objects are beyond this model: they stay unsaid."""
    from .pointing import Allowed

    for part in schema.get("anyOf", ()):
        if part.get("type") == "array":
            return msgspec.structs.replace(_allowed(part["items"], text), many=True)
    if "enum" in schema:
        return Allowed(list(dict.fromkeys([None, *schema["enum"]])))
    return Allowed([None, *spans(text)] if "string" in schema.get("type", ()) else [None])


def _tool(part: dict[str, Any]) -> dict[str, Any]:
    """What a part of a schema says of the tool's name; nothing in a schema of arguments."""
    properties = part.get("properties", {})
    found: dict[str, Any] = properties.get("tool", {}) if properties.keys() <= {"tool", "arguments"} else {}
    return found
