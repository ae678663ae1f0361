"""An encoder that fills the arguments of a tool by pointing: one pass reads the tools and the request together.

An argument asks where its value begins and where it ends, as in reading comprehension by spans (Devlin et al. 2019,
arXiv 1810.04805, section 4.3), but the question is the state of the argument's own name in the signature, so that all
arguments of all tools are answered at once (pointer networks: Vinyals et al. 2015, arXiv 1506.03134). The first token
stands for nothing: an argument that was not said, a request that none of the tools is for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from metier.topics.errors import EngineFailed

from .adapters import attach
from .encoder import base, shortened
from .reading import NOTHING, Place, Reading, Signature, Slot, mentions, places

HEADS = "heads.safetensors"

#: A further value of a list is at least so likely beside the likeliest.
_SHARE = 0.25

#: Of the values of an argument, those that are tried together with those of others.
_KEPT = 6

#: Tokens read of tools and request together.
LONGEST = 512


class Scores:
    """What one reading came to: logarithms of probabilities over the tools and over the tokens."""

    def __init__(self, reading: Reading, encoding: Any, tools: torch.Tensor, ends: torch.Tensor) -> None:
        self.reading = reading
        #: `[tools + 1]`, the last for none.
        self.tools = tools
        #: `[slots, 2, tokens]`: where each argument begins and ends, tools in the order of the reading.
        self.ends = ends
        self._encoding = encoding
        self._pairs: dict[Place, tuple[int, int] | None] = {NOTHING: (0, 0)}

    def tokens(self, place: Place) -> tuple[int, int] | None:
        """First and last token of some characters; None for what was cut off."""
        if place not in self._pairs:
            part = int(place.of_text)
            first = self._encoding.char_to_token(place.start, part)
            last = self._encoding.char_to_token(place.end - 1, part)
            self._pairs[place] = None if first is None or last is None else (first, last)
        return self._pairs[place]

    def first(self, tool: Signature) -> int:
        """The row of a tool's first argument in `ends`."""
        before = self.reading.tools[: self.reading.tools.index(tool)]
        return sum(len(each.slots) for each in before)


class Pointer(torch.nn.Module):
    """Encoder and heads."""

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        super().__init__()
        size = encoder.config.hidden_size
        self.encoder = encoder
        self.tokenizer = tokenizer
        #: Added to the score of calling none of the tools.
        self.refusal = 0.0
        self.heads = torch.nn.ModuleDict(
            {
                # Of an argument, where its value begins and ends; of a token, what begins or ends there.
                "asks": torch.nn.Linear(size, 2 * size),
                "stands": torch.nn.Linear(size, 2 * size),
                "fits": torch.nn.Linear(size, 1),
            }
        )

    def write(self, folder: Path) -> None:
        """Stores the heads, of how many layers they read the last, and how readily they refuse."""
        weights = {name: weight.detach().half().contiguous() for name, weight in self.heads.state_dict().items()}
        about = {"layers": str(self.encoder.config.num_hidden_layers), "refusal": str(self.refusal)}
        save_file(weights, folder / HEADS, about)

    def take(self, folder: Path) -> None:
        """Takes the heads that were stored, and how readily they refuse."""
        self.refusal = float(_about(folder)["refusal"])
        self.heads.load_state_dict({name: weight.float() for name, weight in load_file(folder / HEADS).items()})

    def length(self, text: str) -> int:
        """How many tokens a text has."""
        # Not by the tokenizer itself: that would turn off the padding which another thread's batch has just turned on.
        return len(self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    def forward(self, readings: Sequence[Reading]) -> list[Scores]:
        """The scores of each reading."""
        read = self.tokenizer(
            [reading.about for reading in readings],
            [reading.text for reading in readings],
            padding=True,
            truncation="only_first",
            max_length=LONGEST,
            return_tensors="pt",
        )
        mask = read["attention_mask"]
        states = self.encoder(input_ids=read["input_ids"], attention_mask=mask).last_hidden_state.float()
        stands = self.heads["stands"](states).unflatten(-1, (2, -1))
        made: list[Scores] = []
        for row, reading in enumerate(readings):
            encoding, length = read.encodings[row], int(mask[row].sum())
            slots = [_token(encoding, slot.start) for tool in reading.tools for slot in tool.slots]
            asks = self.heads["asks"](states[row, slots]).unflatten(-1, (2, -1))
            ends = torch.einsum("sdh,tdh->sdt", asks, stands[row, :length]) / math.sqrt(states.shape[-1])
            tools = [_token(encoding, tool.start) for tool in reading.tools]
            fits = self.heads["fits"](states[row, [*tools, 0]])[:, 0]
            fits = torch.cat([fits[:-1], fits[-1:] + self.refusal])
            made.append(Scores(reading, encoding, fits.log_softmax(0), ends.log_softmax(-1)))
        return made


def _about(folder: Path) -> dict[str, str]:
    """What is stored beside the weights of heads."""
    with safe_open(folder / HEADS, "pt") as stored:
        about: dict[str, str] = stored.metadata()
    return about


def _token(encoding: Any, start: int) -> int:
    """The token of a character of the signatures; the first of all for what was cut off."""
    return encoding.char_to_token(start, 0) or 0


class Allowed(msgspec.Struct, frozen=True):
    """The values an argument may have, None among them; of `many`, any number may be right."""

    values: Sequence[Any]
    many: bool = False


class Filled(msgspec.Struct, frozen=True):
    """An argument's value, and how likely it is among those that were allowed."""

    value: Any
    chance: float


class _Option(msgspec.Struct, frozen=True):
    """A value of an argument, the words of the request that it takes, and how well it fits."""

    value: Any
    takes: tuple[Place, ...]
    fit: float


def fill(scores: Scores, tool: Signature, allowed: Mapping[str, Allowed]) -> dict[str, Filled]:
    """The values of a tool's arguments that are likeliest together, where what is said once fills one argument."""
    ends = scores.ends.tolist()
    names: list[str] = []
    found: list[list[_Option]] = []
    for row, slot in enumerate(tool.slots, start=scores.first(tool)):
        own = _options(scores, ends[row], slot, allowed[slot.name].values) if slot.name in allowed else []
        if own:
            names.append(slot.name)
            found.append(_several(own) if allowed[slot.name].many else own)
    made = {}
    for name, own, option in zip(names, found, _together([_tried(own) for own in found]), strict=True):
        whole = torch.tensor([each.fit for each in own]).logsumexp(0)
        made[name] = Filled(option.value, float((option.fit - whole).clamp(max=0).exp()))
    return made


def _options(scores: Scores, ends: list[list[float]], slot: Slot, values: Sequence[Any]) -> list[_Option]:
    """The values of one argument at each of their places, the best first."""
    made: list[_Option] = []
    for value in values:
        for place in places(scores.reading, slot, value):
            if (pair := scores.tokens(place)) is not None:
                fit = ends[0][pair[0]] + ends[1][pair[1]]
                said = [] if place == NOTHING else [place] if place.of_text else mentions(scores.reading, value)
                made += [_Option(value, (each,), fit) for each in said] or [_Option(value, (), fit)]
    return sorted(made, key=lambda option: option.fit, reverse=True)


def _several(options: Sequence[_Option]) -> list[_Option]:
    """The options of a list: what stands apart and is likely enough beside the best is said together."""
    line = options[0].fit + math.log(_SHARE)
    parts: list[_Option] = []
    for option in options:
        if option.value is None or option.fit < line:
            break
        if all(option.value != other.value and _apart(option.takes, other.takes) for other in parts):
            parts.append(option)
    parts.sort(key=lambda option: [place.start for place in option.takes])
    takes = tuple(place for option in parts for place in option.takes)
    whole = [_Option([option.value for option in parts], takes, options[0].fit)] if parts else []
    return whole + [option for option in options if option.value is None]


def _tried(options: Sequence[_Option]) -> list[_Option]:
    """The best options, and nothing where it is not among them."""
    return [*options[:_KEPT], *(option for option in options[_KEPT:] if option.value is None)]


def _together(options: Sequence[Sequence[_Option]]) -> list[_Option]:
    """One option for each argument, no two with the same words: those whose fits have the greatest sum. Options are
    sorted, so what cannot become the best is left early. If there is no way, the last arguments share words."""
    above = [sum(own[0].fit for own in options[at:]) for at in range(len(options) + 1)]
    best: tuple[float, list[_Option]] = (-math.inf, [own[0] for own in options])

    def go(chosen: list[_Option], taken: tuple[Place, ...], fit: float) -> None:
        nonlocal best
        if fit + above[len(chosen)] <= best[0]:
            return
        if len(chosen) == len(options):
            best = (fit, chosen)
            return
        for option in options[len(chosen)]:
            if _apart(option.takes, taken):
                go([*chosen, option], taken + option.takes, fit + option.fit)

    go([], (), 0.0)
    return best[1]


def _apart(some: Sequence[Place], others: Sequence[Place]) -> bool:
    return not any(place.overlaps(other) for place in some for other in others)


def load(path: Path, folders: Mapping[str, Path], dtype: torch.dtype, shown: str) -> dict[str, Pointer]:
    """A pointer for each adapter, merged in; they share the base's embeddings. Raises EngineFailed or OSError."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    made: dict[str, Pointer] = {}
    embeddings: Any = None
    for name, folder in folders.items():
        if not (folder / HEADS).is_file():
            raise EngineFailed(model=shown, reason=f"there is no adapter in {folder}")
        encoder = shortened(base(path), int(_about(folder)["layers"]))
        merged = attach(encoder, {name: str(folder / "adapter")}, shown).merge_and_unload().to(dtype)
        merged.embeddings = embeddings = embeddings or merged.embeddings
        made[name] = Pointer(merged, tokenizer).eval()
        made[name].take(folder)
    return made
