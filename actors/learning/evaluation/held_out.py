"""How often an adapter calls right, on requests made of sentences, cities and titles it never saw.

    python -m metier.actors.learning.evaluation.held_out --team cluster/teams/trip --adapter DIRECTORY

Decoding is that of serving: the same engine, the same grammar. The figures go into the adapter's manifest and card.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...engines.base import complete
from ...engines.sources import find, parse
from ...engines.transformers import TransformersEngine, TransformersSettings
from ...prompts import call_prompt, parse_call
from ...tools.base import Request
from .. import card, manifest
from ..examples import Example, Phrasebook, Team, generate
from ..lessons import WEIGHTS

_log = logging.getLogger(__name__)
_ADAPTER = "adapter"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call beside the right one."""

    specialist: str
    language: str
    text: str
    said: dict[str, Any]
    right: dict[str, Any]
    confidence: float | None

    @property
    def exact(self) -> bool:
        """Whether every argument is right."""
        return self.said == self.right

    @property
    def wrong(self) -> dict[str, tuple[Any, Any]]:
        """What was said and what is right, where they differ."""
        return {key: (self.said.get(key), value) for key, value in self.right.items() if self.said.get(key) != value}


def picked(examples: Sequence[Example], each: int) -> list[tuple[Example, str]]:
    """So many parts of requests for each specialist and language."""
    counts: Counter[tuple[str, str]] = Counter()
    chosen: list[tuple[Example, str]] = []
    for example in examples:
        for name in example.calls:
            if counts[name, example.language] < each:
                counts[name, example.language] += 1
                chosen.append((example, name))
    return chosen


def figures(calls: Sequence[Call]) -> dict[str, float]:
    """Share of calls with every argument right, and of arguments that are right, in all and by part."""
    parts: dict[str, list[Call]] = {"all": list(calls)}
    for call in calls:
        parts.setdefault(call.specialist, []).append(call)
        parts.setdefault(call.language, []).append(call)
    made: dict[str, float] = {"calls": float(len(calls))}
    for name, some in parts.items():
        arguments = [call.said.get(key) == value for call in some for key, value in call.right.items()]
        said = [call.said.get(key) == value for call in some for key, value in call.right.items() if value is not None]
        made[f"{name}.exact"] = round(sum(call.exact for call in some) / len(some), 4)
        made[f"{name}.arguments"] = round(sum(arguments) / len(arguments), 4)
        made[f"{name}.said"] = round(sum(said) / max(1, len(said)), 4)
    return made


async def calls(team: Team, parts: Sequence[tuple[Example, str]], base: Path, adapter: Path) -> list[Call]:
    """What the model with its adapter calls."""
    settings = TransformersSettings(path=str(base), name=base.name, adapters={_ADAPTER: str(adapter)})
    engine = TransformersEngine(settings)
    await engine.load()
    room = asyncio.Semaphore(settings.max_batch)

    async def one(example: Example, name: str) -> Call:
        offers = [team.specialists[name].offer(example.text)]
        async with room:
            prompt = call_prompt(offers, Request(text=example.text, today=dt.date.min), _ADAPTER)
            completion = await complete(engine, prompt)
        called = parse_call(offers, completion.text)
        assert called is not None
        return Call(
            specialist=name,
            language=example.language,
            text=example.text,
            said=called[1],
            right=dict(example.calls[name].arguments),
            confidence=completion.confidence,
        )

    try:
        return list(await asyncio.gather(*(one(example, name) for example, name in parts)))
    finally:
        await engine.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--team", type=Path, required=True, help="the team's folder")
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--base-directory", type=Path, help="where the base lies, if it was not pulled")
    parser.add_argument("--each", type=int, default=15, help="calls for each specialist and language")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    about = manifest.read(options.adapter)
    book = Phrasebook.read(options.team / "training")
    parts = picked(generate(book, 1_500, "test", options.seed, WEIGHTS), options.each)
    base = options.base_directory or find(parse(about.base))
    made = asyncio.run(calls(book.team, parts, base, options.adapter))
    for call in made:
        if not call.exact:
            _log.info("%s %r %s %s", call.specialist, call.text, call.wrong, call.confidence)
    found = {f"test.{name}": value for name, value in figures(made).items()}
    _log.info("%s", msgspec.json.format(msgspec.json.encode(found)).decode())
    about = msgspec.structs.replace(about, metrics=about.metrics | found)
    about.write(options.adapter)
    card.write(about, options.adapter)


if __name__ == "__main__":
    main()
