"""Decoding: what each row of a batch still needs, and when it has it.

Rows of a batch are independent: each has its grammar, limits, sampling and reader. Each chooses its next token by the
model's scores until it has enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Container, Iterator, Sequence
from typing import Literal, Protocol

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from metier.topics.errors import EngineFailed

from .base import Prompt
from .grammar import Matcher


class Row:
    """One prompt while it is answered. The worker thread drives it; `cancelled` may be set from any thread."""

    def __init__(
        self,
        prompt: Prompt,
        ids: list[int],
        matcher: Matcher | None,
        tokenizer: Tokenizer,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.prompt = prompt
        self.ids = ids
        self.matcher = matcher
        self.started = time.perf_counter()
        self.tokens: list[int] = []
        self.text = ""
        self.finish: Literal["stop", "length"] | None = None
        #: Of the tokens that the grammar left free: the least of their chances, and the product of all.
        self.least: float | None = None
        self.joint = 1.0
        self.cancelled = False
        #: What went wrong with this row alone.
        self.error: EngineFailed | None = None
        #: Tokens the grammar forces next; the matcher has taken them already.
        self.forced: list[int] = []
        #: Each piece of text as it comes, in the reader's event loop; None when the row is finished.
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = loop
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._shown = 0
        self._chance: float | None = None
        self._random = torch.Generator().manual_seed(prompt.seed)

    @property
    def over(self) -> bool:
        """Whether no token is wanted any more."""
        return self.finish is not None or self.cancelled or self.error is not None

    @property
    def room(self) -> int:
        """How many tokens may still come."""
        return self.prompt.max_tokens - len(self.tokens)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """What goes wrong inside ends this row, not its batch."""
        try:
            yield
        except EngineFailed as error:
            self.error = error
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, None)

    def begin(self) -> None:
        """Looks at what the grammar forces before the model is asked."""
        if self.matcher is not None:
            self.forced = self.matcher.forced()

    def skip(self) -> list[int]:
        """Takes the forced tokens without a pass of the model, and returns those that fit."""
        tokens = self.forced[: self.room]
        for token in tokens:
            self._take(token)
        return tokens

    def choose(self, scores: torch.Tensor) -> int:
        """The next token, by the scores `[vocabulary]`, which are masked in place."""
        self._chance = None
        if self.forced:
            return self.forced[0]
        free = self.matcher is not None and self.matcher.mask(scores) > 1
        if self.prompt.temperature > 0:
            chances = torch.softmax(scores.float().cpu() / self.prompt.temperature, dim=-1)
            token = int(torch.multinomial(chances, 1, generator=self._random))
        else:
            token = int(scores.argmax())
        if free:
            self._chance = float((scores[token] - scores.logsumexp(dim=-1)).exp())
        return token

    def take(self, token: int, ends: Container[int]) -> None:
        """Takes the token that was chosen; an end token finishes the row."""
        if self._chance is not None:
            self.least = min(self._chance, self.least if self.least is not None else 1.0)
            self.joint *= self._chance
        if token in ends:
            self._finish("stop")
            return
        if self.matcher is not None and not self.forced:
            self.matcher.accept(token)
            self._take(token)
            self.forced = self.matcher.forced()
            if self.matcher.finished:
                self.skip()
            return
        self._take(token)

    def _take(self, token: int) -> None:
        if self.forced:
            self.forced = self.forced[1:]
        self.tokens.append(token)
        self.text += self._stream.step(self._tokenizer, token) or ""
        if self._stopped():
            self._finish("stop")
            return
        self._show(len(self.text) - self._held())
        if self.matcher is not None and self.matcher.finished and not self.forced:
            self._finish("stop")
        elif self.room <= 0:
            self._finish("length")

    def _stopped(self) -> bool:
        found = [at for stop in self.prompt.stop if (at := self.text.find(stop)) >= 0]
        if found:
            self.text = self.text[: min(found)]
        return bool(found)

    def _held(self) -> int:
        """How many of the last characters may be the beginning of a stop string."""
        lengths = (size for stop in self.prompt.stop for size in range(1, len(stop)) if self.text.endswith(stop[:size]))
        return max(lengths, default=0)

    def _show(self, until: int) -> None:
        if until > self._shown:
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, self.text[self._shown : until])
            self._shown = until

    def _finish(self, finish: Literal["stop", "length"]) -> None:
        if self.finish is None:
            self.finish = finish
            if self.matcher is not None and self.least is None:
                self.least = 1.0  # the grammar left nothing to choose
            self._show(len(self.text))
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, None)


class Sequences(Protocol):
    """A batch of sequences that a model reads on and on, with what it keeps of what it read."""

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Reads the next tokens of each `[B, T]`, and returns the scores of what may follow `[B, V]`, in float32."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with these rows of the batch alone."""
        ...


class Model(Protocol):
    """What reads them."""

    def begin(self, adapters: Sequence[str | None], pads: Sequence[int], room: int) -> Sequences:
        """Sequences `[B]` with `pads` of their first tokens left out, of at most `room` tokens each, pads included."""
        ...


def decode(model: Model, rows: Sequence[Row], ends: Container[int], pad: int) -> None:
    """Answers a batch."""
    for row in rows:
        with row.alone():
            row.begin()
            row.skip()
    rows = [row for row in rows if not row.over]
    if not rows:
        return
    known = [row.ids + row.tokens for row in rows]
    width = max(map(len, known))
    pads = [width - len(ids) for ids in known]
    sequences = model.begin([row.prompt.adapter for row in rows], pads, width + max(row.room for row in rows))
    unread = [[pad] * count + ids for count, ids in zip(pads, known, strict=True)]
    while True:
        for row, scores in zip(rows, sequences.read(torch.tensor(unread)), strict=True):
            if not row.over:
                with row.alone():
                    row.take(row.choose(scores), ends)
        left = [number for number, row in enumerate(rows) if not row.over]
        if left and 2 * len(left) <= len(rows):  # what is kept is copied: not for each that ends
            sequences.keep(left)
            rows = [rows[number] for number in left]
        unread = [row.tokens[-1:] or [pad] for row in rows]
        if len(rows) == 1:  # alone, a row has its forced tokens read in one pass instead of one pass each
            unread[0] += rows[0].skip()
        if all(row.over for row in rows):
            return
