"""The transformers engine: one base model with any number of LoRA adapters, on a CPU or a GPU."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from metier.topics.errors import EngineFailed

from . import calibration
from .adapters import attach
from .base import Completion, Piece, Prompt, Turn, failing
from .batch import Batcher
from .dtypes import chosen
from .sources import required

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .decoding import Row


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


def prompt_ids(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> list[int]:
    """The tokens a model reads, up to where its answer begins. Training and serving both call this.

    Control tokens that somebody wrote into a text are broken up: they are words there, and end no turn.
    """
    messages = [{"role": turn.role, "content": _plain(tokenizer, turn.content)} for turn in turns]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(str(text), add_special_tokens=False)["input_ids"])


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    for token in tokenizer.added_tokens_decoder.values():
        if token.special and str(token) in text:
            text = text.replace(str(token), f"{str(token)[0]} {str(token)[1:]}")
    return text


class TransformersEngine:
    """Engine on torch and transformers. Prompts that come together share a batch, whatever their adapters."""

    def __init__(self, settings: TransformersSettings) -> None:
        self._settings = settings
        self._batcher: Batcher[Row, None] = Batcher(self._answer, largest=settings.max_batch, wait_ms=settings.wait_ms)
        self._running: set[Row] = set()
        self._tokenizer: Any = None
        self._model: Any = None
        self._adapters: Any = None
        self._calibrations: dict[str, calibration.Calibration] = {}
        self._grammar: Any = None
        self._config: Any = None

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
            await asyncio.to_thread(self._load)

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """Pieces as they come, then the completion. Closing the iterator stops the model. Raises EngineFailed."""
        self._check(prompt)
        with failing(self.model):
            row = await asyncio.to_thread(self._row, prompt, asyncio.get_running_loop())
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
            yield self._completion(row)
        finally:
            row.cancelled = True
            answered.cancel()
            self._running.discard(row)

    async def health(self) -> None:
        """Returns if the model is loaded. Raises EngineFailed."""
        if self._model is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")

    async def close(self) -> None:
        """Ends what runs and frees the model."""
        for row in self._running:
            row.cancelled = True
        await self._batcher.close()
        self._model = self._adapters = None

    def _load(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
        from transformers.utils import logging

        from .grammar import GRAMMARS
        from .packing import pack

        settings = self._settings
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if settings.threads:
            torch.set_num_threads(settings.threads)
        device = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(settings.path)
        # In float32 on a CPU the weights stay mapped from the file: processes on one host share them.
        dtype = chosen(settings.dtype, device)
        model: Any = AutoModelForCausalLM.from_pretrained(settings.path, dtype=dtype)
        model = model.to(device)
        self._grammar = GRAMMARS[settings.grammar](self._tokenizer, model.config.vocab_size, settings.name)
        self._config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            use_cache=True,
            return_dict_in_generate=True,
            eos_token_id=model.generation_config.eos_token_id,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        self._adapters = attach(model, settings.adapters, settings.name) if settings.adapters else None
        found = {name: calibration.read(Path(path), settings.name) for name, path in settings.adapters.items()}
        self._calibrations = {name: each for name, each in found.items() if each is not None}
        self._model = pack(model.eval())

    def _check(self, prompt: Prompt) -> None:
        if self._model is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")
        if prompt.adapter is not None and prompt.adapter not in self._settings.adapters:
            known = ", ".join(self._settings.adapters) or "none"
            raise EngineFailed(model=self.model, reason=f"it has no adapter {prompt.adapter!r}; it has {known}")

    def _row(self, prompt: Prompt, loop: asyncio.AbstractEventLoop) -> Row:
        from .decoding import Row

        ids = prompt_ids(self._tokenizer, prompt.turns)
        limit = self._model.config.max_position_embeddings
        if len(ids) + prompt.max_tokens > limit:
            reason = f"{len(ids)} tokens of prompt and {prompt.max_tokens} of output exceed its {limit}"
            raise EngineFailed(model=self.model, reason=reason)
        matcher = self._grammar.compile(prompt.schema) if prompt.schema is not None else None
        return Row(prompt, ids, matcher, self._tokenizer.backend_tokenizer, loop)

    def _answer(self, rows: list[Row]) -> list[None]:
        import torch

        from .decoding import decode

        with torch.inference_mode():
            decode(self._generate(rows), rows, self._config, self._model.device)
        return [None] * len(rows)

    def _generate(self, rows: Sequence[Row]) -> Callable[..., Any]:
        """The model's `generate` with the rows' adapters in place."""
        wanted = {row.prompt.adapter for row in rows}
        if self._adapters is None:
            return self._model.generate  # type: ignore[no-any-return]
        if wanted == {None}:
            self._adapters.base_model.disable_adapter_layers()
            return self._model.generate  # type: ignore[no-any-return]
        self._adapters.base_model.enable_adapter_layers()
        if len(wanted) == 1:
            # A fifth faster than naming the adapter of each row.
            self._adapters.set_adapter(wanted.pop(), inference_mode=True)
            return self._model.generate  # type: ignore[no-any-return]
        names = [row.prompt.adapter or "__base__" for row in rows]
        return functools.partial(self._adapters.generate, adapter_names=names)

    async def _explain(self, answered: asyncio.Future[None]) -> NoReturn:
        if not answered.cancelled():
            with failing(self.model):
                await answered
        raise EngineFailed(model=self.model, reason="it was closed while it answered")

    def _completion(self, row: Row) -> Completion:
        line = self._calibrations.get(row.prompt.adapter or "") if row.least is not None else None
        return Completion(
            text=row.text,
            model=self.model,
            prompt_tokens=len(row.ids),
            output_tokens=len(row.tokens),
            seconds=time.perf_counter() - row.started,
            finish=row.finish or "stop",
            confidence=line.of(row.joint) if line else row.least,
            joint=None if row.least is None else row.joint,
        )
