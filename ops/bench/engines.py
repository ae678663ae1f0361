"""The small language model by every engine that runs it, beside Transformers' own `generate`: the same weights.

What is asked: outputs of a fixed length, 1, 4 and 16 at once; and one whole tool call, a specialist's prompt under the
schema of its tool. No prompt is asked twice, so that nobody answers from what it kept; what the prompts of a specialist
have in common, everybody may keep.
"""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from collections.abc import Iterator
from statistics import median

import msgspec

from metier.actors.engines.base import Prompt, Turn
from metier.actors.engines.sources import KNOWN, find
from metier.actors.prompts import call_prompt
from metier.actors.tools.base import Request
from metier.cluster import build
from metier.cluster import team as teams
from metier.cluster.commands.session import TRIP
from metier.topics.errors import Unavailable

from .decoder import Able, Answered, Order
from .decoding import GENERATE, LLAMA, OWN, VLLM
from .figures import Decoder, Engines
from .remote import ROOT, Contender, Running, running
from .rounds import Tell, Telling

ROUNDS = 3
BATCHES = (1, 4, 16)
#: Tokens of an output of fixed length, and how often each order is given in a round.
LONG, TIMES, CALLS = 64, 3, 5
#: The environment that `make vllm` makes; it starts slowly, and the first order may compile.
PYTHON = ROOT / "build" / "vllm" / ".venv" / "bin" / "python"
START_S, ORDER_S = 900.0, 600.0

_CITIES = ("Paris", "Rome", "Lyon", "Madrid", "Berlin", "Lisbon", "Vienna", "Prague", "Athens", "Dublin", "Oslo")


async def measure(rounds: int, threads: int, tell: Tell) -> Engines:
    """All of them, in turns. One that fails is left out, with its reason. Raises Unavailable if Metier's own fails."""
    path = str(find(KNOWN["smollm2-135m-instruct"]))
    turns: dict[str, list[Decoder]] = {name: [] for name in contenders(path, threads)}
    absent: dict[str, str] = {}
    for number in range(rounds):
        for name, contender in contenders(path, threads).items():
            if name in absent:
                continue
            try:
                if name == VLLM and not PYTHON.exists():
                    raise Unavailable(what=name, reason="`make vllm` makes its environment")
                # generate knows no schema: it writes at most as many tokens as a call has.
                most = int(turns[OWN][-1].call_tokens) if name == GENERATE else None
                heard = Telling(tell, f"round {number + 1} of {rounds}: {name}")
                turns[name].append(await _turn(name, contender, number, most, heard))
            except Unavailable as error:
                if name == OWN:
                    raise
                absent[name] = str(error).split("\n")[-1].replace("|", "/")
    found = {name: _medians(turns[name], absent.get(name, "")) for name in turns}
    first = found[OWN]
    return Engines(
        rounds=rounds, threads=threads, prompt_tokens=first.prompt_tokens, output_tokens=LONG, decoders=found
    )


def contenders(path: str, threads: int) -> dict[str, Contender]:
    """By the name in the table."""

    def one(kind: str, **options: object) -> Contender:
        return Contender(
            module="ops.bench.decoder",
            kind=kind,
            options={"path": path, "threads": threads, "batch": max(BATCHES)} | options,
            environment={"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
        )

    compiled = shutil.which("g++") is not None
    return {
        OWN: one("transformers"),
        GENERATE: one("generate"),
        LLAMA: one("llamacpp"),
        VLLM: msgspec.structs.replace(one("vllm", compiled=compiled), python=str(PYTHON)),
    }


async def _turn(name: str, contender: Contender, round_: int, most: int | None, tell: Tell) -> Decoder:
    tell("starting")
    fresh = itertools.count(round_ * 1000)
    async with running(name, contender, Able, START_S) as started:
        tell("warming up")
        for count in (1, max(BATCHES)):
            await _ask(name, started, Order(prompts=list(itertools.islice(stories(fresh), count)), whole=True))
        await _ask(name, started, Order(prompts=[call(next(fresh), most)]))
        rates: dict[int, float] = {}
        alone: list[Answered] = []
        for count in BATCHES:
            tell(f"{count} at once")
            made = [
                await _ask(name, started, Order(prompts=list(itertools.islice(stories(fresh), count)), whole=True))
                for _ in range(TIMES)
            ]
            rates[count] = median(each.output_tokens / each.seconds for each in made)
            alone = alone or made
        tell("tool calls")
        calls = [await _ask(name, started, Order(prompts=[call(next(fresh), most)])) for _ in range(CALLS)]
        able = started.ready
        assert isinstance(able, Able)
        return Decoder(
            weights=able.weights,
            versions=able.versions,
            start_s=able.start_s,
            prompt_tokens=alone[0].prompt_tokens,
            per_s=rates,
            first_ms=1000 * median(each.first_s for each in alone),
            call_ms=1000 * median(each.seconds for each in calls),
            call_prompt_tokens=calls[0].prompt_tokens,
            call_tokens=median(each.output_tokens for each in calls),
            call_text=calls[-1].text,
        )


async def _ask(name: str, started: Running, order: Order) -> Answered:
    found = await started.exchange(order, Answered, ORDER_S)
    if found.failed:
        raise Unavailable(what=name, reason=found.failed)
    return found


def stories(numbers: Iterator[int]) -> Iterator[Prompt]:
    """Prompts whose greedy answers are longer than LONG."""
    for number in numbers:
        city = _CITIES[number % len(_CITIES)]
        text = (
            f"Write chapter {number + 1} of a very long story about a family of travellers in {city}, in full detail."
        )
        yield Prompt(turns=(Turn("user", text),), max_tokens=LONG)


def call(number: int, most: int | None = None) -> Prompt:
    """What the trip team's flight finder asks a model that writes its calls."""
    team = teams.read(str(TRIP))
    origin, to = _CITIES[number % len(_CITIES)], _CITIES[(number + 3) % len(_CITIES)]
    text = f"Find me a flight from {origin} to {to} on Friday, back on Sunday evening, for {number % 4 + 1} people"
    request = Request(text=text, today=dt.date(2026, 11, 27))
    offers = [offer for tool in build.tools(team, "flights") if (offer := tool.offer(request))]
    asked = call_prompt(offers, request, None)
    return msgspec.structs.replace(asked, max_tokens=most or asked.max_tokens)


def _medians(turns: list[Decoder], absent: str) -> Decoder:
    if absent or not turns:
        return Decoder(absent=absent or "not measured")
    return msgspec.structs.replace(
        turns[0],
        start_s=median(each.start_s for each in turns),
        per_s={count: round(median(each.per_s[count] for each in turns), 1) for count in BATCHES},
        first_ms=round(median(each.first_ms for each in turns), 1),
        call_ms=round(median(each.call_ms for each in turns), 1),
        call_tokens=median(each.call_tokens for each in turns),
    )
