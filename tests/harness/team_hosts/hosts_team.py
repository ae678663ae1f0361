"""A tool that says which host it runs on and notes each run beside this file: for tests of several hosts."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import ray.util

from metier.actors.tools.base import Offer, Outcome, Request

RUNS = "runs.jsonl"


class Run(msgspec.Struct, frozen=True):
    """A line of that file."""

    #: began or ended
    what: str
    host: str
    text: str


class Sign:
    """Repeats the request with the address of its host, after as many seconds as it names: "lasts 2"."""

    name = "sign"

    def offer(self, request: Request) -> Offer:
        schema = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
        return Offer(name=self.name, brief="sign(words)", schema=schema)

    async def call(self, said: Mapping[str, Any], request: Request) -> Outcome:
        here = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        lasts = re.search(r"lasts (\d+(?:\.\d+)?)", request.text)
        _note(Run("began", here, request.text))
        await asyncio.sleep(float(lasts[1]) if lasts else 0.0)
        _note(Run("ended", here, request.text))
        return Outcome(text=f"{request.text} at {here}", data=here, arguments=dict(said))

    async def close(self) -> None:
        pass


def _note(run: Run) -> None:
    """One write at the end of the file: lines of several processes do not mix."""
    file = os.open(Path(__file__).with_name(RUNS), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, msgspec.json.encode(run) + b"\n")
    finally:
        os.close(file)
