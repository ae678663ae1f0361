"""The transformers engine: one base model with any number of LoRA adapters, on a CPU or a GPU."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from metier.topics.errors import EngineFailed

from .adapters import attach
from .base import Completion, Piece, Prompt, failing
from .batch import Batcher
from .hardware import chosen, read_in
from .sources import required

if TYPE_CHECKING:
    import torch

    from .decoding import Model, Row
    from .reader import Reader


class TransformersSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, and how it is run."""

    #: Directory of the base model.
    path: str
    #: The model as it is shown.
    name: str
    #: Directories of LoRA adapters (PEFT safetensors), by the name prompts use.
    adapters: dict[str, str] = {}
    #: What keeps outputs to their JSON Schema.
    grammar: Literal["llguidance", "xgrammar"] = "llguidance"
    max_batch: int = 8
    #: How long the first prompt of a batch waits for others.
    wait_ms: float = 5
    #: Threads of one pass; 0 leaves it to torch: one for each core.
    threads: int = 1
    #: "auto" is bfloat16 where the hardware multiplies it, else float32. On two cores of an AMD EPYC with AVX512-BF16
    #: a step of a batch of three takes 43 ms in bfloat16 and 134 ms in float32 (torch 2.13.0).
    dtype: str = "auto"
    #: "auto" is the GPU where there is one.
    device: str = "auto"
    #: The model stands in for a larger one that is not configured.
    stand_in: bool = False


def _served(read: Any, adapters: Any, names: Sequence[str], dtype: torch.dtype, device: str) -> Model:
    """The model in the form in which it answers fastest here."""
    from . import llama
    from .eager import Eager
    from .packing import pack

    if device == "cpu" and llama.fits(read):
        return llama.Llama(read, names, dtype)
    return Eager(pack(read.to(device=device, dtype=dtype)), adapters)


class TransformersEngine:
    """Engine on torch and transformers. Prompts that come together share a batch, whatever their adapters."""

    def __init__(self, settings: TransformersSettings) -> None:
        self._settings = settings
        self._batcher: Batcher[Row, None] = Batcher(self._answer, largest=settings.max_batch, wait_ms=settings.wait_ms)
        self._running: set[Row] = set()
        self._reader: Reader | None = None
        self._model: Model | None = None

    @property
    def model(self) -> str:
        """The model as it is shown."""
        return self._settings.name

    @property
    def stand_in(self) -> bool:
        """Whether the model only stands in for a larger one."""
        return self._settings.stand_in

    async def load(self) -> None:
        """Reads the base and its adapters. Raises ModelMissing or EngineFailed."""
        required(self._settings.path, self.model)
        with failing(self.model):
            await asyncio.to_thread(read_in, self._load, self._settings.threads)

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """Pieces as they come, then the completion. Closing the iterator stops the model. Raises EngineFailed."""
        reader = self._ready()
        with failing(self.model):
            row = await asyncio.to_thread(_row, prompt, reader, asyncio.get_running_loop())
        self._running.add(row)
        answered = self._batcher.submit(row)
        answered.add_done_callback(lambda _: row.pieces.put_nowait(None))
        try:
            while (text := await row.pieces.get()) is not None:
                yield Piece(text)
            if row.error is not None:
                raise row.error
            if row.finish is None:
                await self._explain(answered)
            yield self._completion(reader, row)
        finally:
            row.cancelled = True
            answered.cancel()
            self._running.discard(row)

    async def health(self) -> None:
        """Returns if the model is loaded. Raises EngineFailed."""
        self._ready()

    async def close(self) -> None:
        """Ends what runs and frees the model."""
        for row in self._running:
            row.cancelled = True
        await self._batcher.close()
        self._reader = self._model = None

    def _load(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        from .reader import Reader

        settings = self._settings
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        device = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        dtype = chosen(settings.dtype, device)
        reader = Reader(Path(settings.path), settings.adapters, 0, settings.name, settings.grammar)
        # On a CPU the numbers as they are in the file, whatever they are run in: four bits are known by them.
        read: Any = AutoModelForCausalLM.from_pretrained(settings.path, dtype="auto" if device == "cpu" else dtype)
        adapters = attach(read, settings.adapters, settings.name) if settings.adapters else None
        self._model = _served(read.eval(), adapters, list(settings.adapters), dtype, device)
        self._reader = reader

    def _ready(self) -> Reader:
        if self._reader is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")
        return self._reader

    def _answer(self, rows: list[Row]) -> list[None]:
        import torch

        from .decoding import decode

        reader, model = self._ready(), self._model
        assert model is not None
        with torch.inference_mode():
            decode(model, rows, reader.ends, reader.pad)
        return [None] * len(rows)

    async def _explain(self, answered: asyncio.Future[None]) -> NoReturn:
        if not answered.cancelled():
            with failing(self.model):
                await answered
        raise EngineFailed(model=self.model, reason="it was closed while it answered")

    def _completion(self, reader: Reader, row: Row) -> Completion:
        return Completion(
            text=row.text,
            model=self.model,
            prompt_tokens=len(row.ids),
            output_tokens=len(row.tokens),
            seconds=time.perf_counter() - row.started,
            finish=row.finish or "stop",
            **reader.sure(row.prompt, row if row.matcher is not None else None),
        )


def _row(prompt: Prompt, reader: Reader, loop: asyncio.AbstractEventLoop) -> Row:
    from .decoding import Row

    return Row(prompt, reader.ids(prompt), reader.matcher(prompt), reader.tokenizer, loop)
