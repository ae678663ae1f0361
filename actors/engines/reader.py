"""What an engine does around a library that decodes by itself: reads prompts, follows outputs, says how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from metier.topics.errors import EngineFailed

from . import calibration
from .base import Prompt
from .chances import Chances
from .transformers import prompt_ids


class Reader:
    """A model's tokenizer, its grammar and its limits. Raises EngineFailed, with the model as it is `shown`."""

    def __init__(self, folder: Path, adapters: Mapping[str, str], context: int, shown: str) -> None:
        from transformers import AutoTokenizer

        from .grammar import LlGuidance

        config: dict[str, Any] = msgspec.json.decode((folder / "config.json").read_bytes())
        ends = config["eos_token_id"]
        #: Tokens of a prompt and its output together.
        self.context: int = min(context or config["max_position_embeddings"], config["max_position_embeddings"])
        #: Tokens that end an output and are not of it.
        self.ends = frozenset(ends if isinstance(ends, list) else [ends])
        self._shown = shown
        self._adapters = adapters
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._grammar = LlGuidance(self._tokenizer, config["vocab_size"], shown)
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

    def chances(self, prompt: Prompt) -> Chances | None:
        """What follows an output that has a schema. Raises EngineFailed for one that cannot be made a grammar."""
        return Chances(self._grammar.compile(prompt.schema)) if prompt.schema is not None else None

    def sure(self, prompt: Prompt, chances: Chances | None) -> dict[str, float]:
        """The parts of a Completion that say how sure the model is."""
        if chances is None:
            return {}
        line = self._calibrations.get(prompt.adapter or "")
        if line is None or chances.least is None:
            return {"confidence": 1.0 if chances.least is None else chances.least, "joint": chances.joint}
        return {"confidence": line.of(chances.joint), "joint": chances.joint}
