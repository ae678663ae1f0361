"""The llama.cpp engine: a packed model on a processor's cores, by the wheel `xllamacpp`, which brings its server.

The server runs inside this process and is called, not posted to: what comes together shares its steps (continuous
batching), and what prompts have in common with those before them is not read again. It listens nowhere but on a socket
in a folder that is closed to others.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import msgspec

from metier.topics.errors import EngineFailed, ModelMissing

from .base import Completion, Piece, Prompt, failing
from .reader import Reader
from .sources import PULL, required

#: How many of the likeliest tokens are asked of each step under a grammar. What they leave of an adapter's sure answers
#: is next to nothing (`chances.py`).
_LIKELIEST = 40


class LlamaCppSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, and how it is run."""

    #: Directory of the model: its GGUF file, its tokenizer, its config.json.
    path: str
    #: The model as it is shown.
    name: str
    #: Directories of LoRA adapters (PEFT safetensors), by the name prompts use. Prompts of different adapters share no
    #: step: llama.cpp takes them in turns.
    adapters: dict[str, str] = {}
    max_batch: int = 8
    threads: int = 1
    #: Tokens of a prompt and its output together; 0: as many as the model reads. `max_batch` times as many are kept.
    context: int = 0
    #: The model stands in for a larger one that is not configured.
    stand_in: bool = False


class _Answer:
    """One prompt while it is answered. The server's thread drives it; `cancelled` may be set from any thread."""

    def __init__(self, prompt: Prompt, reader: Reader, loop: asyncio.AbstractEventLoop) -> None:
        self.prompt = prompt
        self.ids = reader.ids(prompt)
        # llama.cpp answers freely where it cannot read a schema, and says nothing: here it is compiled first.
        self.chances = reader.chances(prompt)
        self.started = time.perf_counter()
        self.text = ""
        self.tokens = 0
        self.finish: Literal["stop", "length"] | None = None
        self.cancelled = False
        self.error: EngineFailed | None = None
        #: Each piece of text as it comes, in the reader's event loop; None when no more will.
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = loop
        self._ends = reader.ends

    def take(self, chunk: dict[str, Any]) -> bool:
        """Takes what the server streams; returns whether nothing more is wanted."""
        choice = chunk["choices"][0]
        for each in (choice["logprobs"] or {}).get("content", ()):
            self._follow(each)
        if text := choice["text"]:
            self.text += text
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, text)
        if self.chances and self.chances.finished and not self.prompt.stop:
            self.finish = "stop"  # the server would run the model once more, for the end token
        elif choice["finish_reason"]:
            self.finish = "length" if choice["finish_reason"] == "length" else "stop"
            if not self.chances:
                self.tokens = chunk["usage"]["completion_tokens"]
        return self.cancelled or self.finish is not None

    def _follow(self, said: dict[str, Any]) -> None:
        token: int = said["id"]
        if self.chances is None or self.chances.finished or token in self._ends:
            return
        self.tokens += 1
        likeliest = {each["id"]: each["logprob"] for each in said["top_logprobs"]}
        self.chances.unmasked(token, said["logprob"], likeliest, greedy=self.prompt.temperature <= 0)


class LlamaCppEngine:
    """Engine on llama.cpp. Prompts that come while others are answered join them at the next step."""

    def __init__(self, settings: LlamaCppSettings) -> None:
        self._settings = settings
        #: The server's calls block; one more than it answers at once would only wait in it.
        self._pool = ThreadPoolExecutor(max_workers=settings.max_batch, thread_name_prefix="llamacpp")
        self._running: set[_Answer] = set()
        self._reader: Reader | None = None
        self._server: Any = None

    @property
    def model(self) -> str:
        """The model as it is shown."""
        return self._settings.name

    @property
    def stand_in(self) -> bool:
        """Whether the model only stands in for a larger one."""
        return self._settings.stand_in

    async def load(self) -> None:
        """Reads the packed model and its adapters. Raises ModelMissing or EngineFailed."""
        required(self._settings.path, self.model)
        with failing(self.model):
            await asyncio.to_thread(self._load)

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """Pieces as they come, then the completion. Closing the iterator stops the model. Raises EngineFailed."""
        loop, reader = asyncio.get_running_loop(), self._ready()
        with failing(self.model):
            answer = await asyncio.to_thread(_Answer, prompt, reader, loop)
        if self._reader is not reader:
            raise self._closed()
        self._running.add(answer)
        asked = loop.run_in_executor(self._pool, self._ask, answer)
        asked.add_done_callback(lambda _: answer.pieces.put_nowait(None))
        try:
            while (text := await answer.pieces.get()) is not None:
                yield Piece(text)
            if answer.error is not None:
                raise answer.error
            if answer.finish is None:
                raise self._closed()
            yield self._completion(reader, answer)
        finally:
            answer.cancelled = True
            asked.cancel()
            self._running.discard(answer)

    async def health(self) -> None:
        """Returns if the model is loaded. Raises EngineFailed."""
        self._ready()

    async def close(self) -> None:
        """Ends what runs and frees the model."""
        self._reader = None
        for answer in self._running:
            answer.cancelled = True
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        self._server = None

    def _load(self) -> None:
        folder = Path(self._settings.path)
        packed = next(iter(sorted(folder.glob("*.gguf"))), None)
        if packed is None:  # it was pulled before packed files were kept
            raise ModelMissing(model=f"{self.model} (GGUF)", directory=str(folder), command=PULL)
        reader = Reader(folder, self._settings.adapters, self._settings.context, self.model)
        private = Path(tempfile.mkdtemp(prefix="metier-llamacpp-"))
        try:
            self._server = self._serve(packed, private, reader.context)
        finally:
            shutil.rmtree(private)
        self._reader = reader

    def _serve(self, packed: Path, private: Path, context: int) -> Any:
        """The server, up. It has read what lies in the private folder, which may go: nobody is to connect."""
        from .gguf import adapter

        try:
            library = importlib.import_module("xllamacpp")
        except ModuleNotFoundError as error:
            reason = "it runs on xllamacpp: pip install 'metier[llamacpp]'"
            raise EngineFailed(model=self.model, reason=reason) from error
        settings, params = self._settings, library.CommonParams()
        params.model.path = str(packed)
        params.n_parallel = settings.max_batch
        params.n_ctx = context * settings.max_batch
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
        params.hostnames = [str(private / "server.sock")]
        params.verbosity, params.ui, params.endpoint_slots, params.fit_params = -1, False, False, False
        params.lora_init_without_apply = True
        params.lora_adapters = [
            library.CommonAdapterLoraInfo(
                str(adapter(Path(path), packed.parent, private / f"{number}.gguf", self.model)), 0.0
            )
            for number, path in enumerate(settings.adapters.values())
        ]
        return library.Server(params)

    def _ready(self) -> Reader:
        if self._reader is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")
        return self._reader

    def _closed(self) -> EngineFailed:
        return EngineFailed(model=self.model, reason="it was closed while it answered")

    def _request(self, answer: _Answer) -> dict[str, Any]:
        from .grammar import COMPACT

        prompt, names = answer.prompt, list(self._settings.adapters)
        request: dict[str, Any] = {
            "prompt": answer.ids,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "samplers": ["temperature"],
            "seed": prompt.seed,
            "stop": list(prompt.stop),
            "lora": [{"id": at, "scale": float(name == prompt.adapter)} for at, name in enumerate(names)],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if prompt.schema is not None:
            schema = json.dumps({"x-guidance": COMPACT, **prompt.schema})
            request |= {"grammar": f"%llguidance {{}}\nstart: %json {schema}", "logprobs": _LIKELIEST}
        return request

    def _ask(self, answer: _Answer) -> None:
        """Blocks until the server has answered, or nobody wants it to."""
        if answer.cancelled:
            return

        def take(chunk: dict[str, Any]) -> bool:
            # What a callback raises is lost in the server.
            try:
                if said := chunk.get("error"):
                    raise EngineFailed(model=self.model, reason=said["message"])
                return answer.take(chunk)
            except EngineFailed as error:
                answer.error = error
            except (KeyError, IndexError, TypeError) as error:
                answer.error = EngineFailed(model=self.model, reason=f"{type(error).__name__}: {error}")
            return True

        try:
            with failing(self.model):
                self._server.handle_completions(self._request(answer), take)
        except EngineFailed as error:
            answer.error = error

    def _completion(self, reader: Reader, answer: _Answer) -> Completion:
        return Completion(
            text=answer.text,
            model=self.model,
            prompt_tokens=len(answer.ids),
            output_tokens=answer.tokens,
            seconds=time.perf_counter() - answer.started,
            finish=answer.finish or "stop",
            **reader.sure(answer.prompt, answer.chances),
        )
