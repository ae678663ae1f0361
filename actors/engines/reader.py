"""What an engine does around decoding, whoever decodes: reads prompts, binds outputs, says how sure the model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from metier.topics.errors import EngineFailed

from . import calibration
from .base import Prompt, Turn
from .chances import Chances
from .grammar import GRAMMARS, LlMatcher, Matcher

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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


class Followed(Protocol):
    """An output whose free tokens were counted."""

    #: The least of their chances, None if there was no choice; and the product.
    least: float | None
    joint: float


class Reader:
    """A model's tokenizer, its grammar and its limits. Raises EngineFailed, with the model as it is `shown`."""

    def __init__(
        self, folder: Path, adapters: Mapping[str, str], context: int, shown: str, grammar: str = "llguidance"
    ) -> None:
        from transformers import AutoTokenizer

        config: dict[str, Any] = msgspec.json.decode((folder / "config.json").read_bytes())
        generation = folder / "generation_config.json"
        told = msgspec.json.decode(generation.read_bytes()) if generation.exists() else {}
        ends = told.get("eos_token_id") or config["eos_token_id"]
        #: Tokens of a prompt and its output together.
        self.context: int = min(context or config["max_position_embeddings"], config["max_position_embeddings"])
        #: Tokens that end an output and are not of it.
        self.ends = frozenset(ends if isinstance(ends, list) else [ends])
        self._shown = shown
        self._adapters = adapters
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        #: The tokenizer beneath, and what stands where a batch has no token.
        self.tokenizer: Any = self._tokenizer.backend_tokenizer
        self.pad: int = self._tokenizer.pad_token_id or 0
        self._grammar = GRAMMARS[grammar](self._tokenizer, config["vocab_size"], shown)
        self._calibrations = {name: calibration.read(Path(path), shown) for name, path in adapters.items()}

    def ids(self, prompt: Prompt) -> list[int]:
        """The tokens the model reads. Raises EngineFailed for an adapter it does not have, or too many tokens."""
        if prompt.adapter is not None and prompt.adapter not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise EngineFailed(model=self._shown, reason=f"it has no adapter {prompt.adapter!r}; it has {known}")
        ids = prompt_ids(self._tokenizer, prompt.turns)
        if len(ids) + prompt.max_tokens > self.context:
            reason = f"{len(ids)} tokens of prompt and {prompt.max_tokens} of output exceed its {self.context}"
            raise EngineFailed(model=self._shown, reason=reason)
        return ids

    def matcher(self, prompt: Prompt) -> Matcher | None:
        """What binds an output that has a schema. Raises EngineFailed for one that cannot be made a grammar."""
        return self._grammar.compile(prompt.schema) if prompt.schema is not None else None

    def chances(self, prompt: Prompt) -> Chances | None:
        """What follows an output that another library binds. Raises EngineFailed as `matcher` does."""
        matcher = self.matcher(prompt)
        assert matcher is None or isinstance(matcher, LlMatcher)
        return Chances(matcher) if matcher is not None else None

    def sure(self, prompt: Prompt, followed: Followed | None) -> dict[str, float]:
        """The parts of a Completion that say how sure the model is."""
        if followed is None:
            return {}
        line = self._calibrations.get(prompt.adapter or "")
        if line is None or followed.least is None:
            return {"confidence": 1.0 if followed.least is None else followed.least, "joint": followed.joint}
        return {"confidence": line.of(followed.joint), "joint": followed.joint}
