"""Grammars: which tokens may come next, so that an output cannot break its JSON Schema.

One small interface, and two engines behind it: llguidance, and xgrammar where it is installed. Tokens that a grammar
forces cost no pass of the model and say nothing about its confidence, so a matcher hands them out apart from those the
model is free to choose.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from metier.topics.errors import EngineFailed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedTokenizerBase


class Matcher(Protocol):
    """One output on its way through a grammar."""

    @property
    def finished(self) -> bool:
        """Whether nothing may follow."""
        ...

    def forced(self) -> list[int]:
        """Takes every token that must come next, and returns them."""
        ...

    def mask(self, scores: torch.Tensor) -> int:
        """Sets the scores `[vocabulary]` of forbidden tokens to minus infinity, in place; returns how many are left."""
        ...

    def accept(self, token: int) -> None:
        """Takes the token the model chose. Raises EngineFailed if the grammar forbids it."""
        ...


class Grammar(Protocol):
    """Makes matchers for one model's tokens."""

    def compile(self, schema: dict[str, Any]) -> Matcher:
        """A matcher for compact JSON with keys in the schema's order. Raises EngineFailed if it cannot be made."""
        ...


#: What llguidance is told beside a schema: flexible whitespace would leave a model free, and unsure, between every two
#: tokens.
COMPACT: Any = {"whitespace_flexible": False}


class LlGuidance:
    """Grammar by llguidance (https://github.com/guidance-ai/llguidance).

    A schema of six properties with 160 allowed values each compiles in about 6 ms, so grammars are made for each
    request and not kept.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: int, model: str) -> None:
        from llguidance.hf import from_tokenizer

        self._model = model
        self._tokenizer = from_tokenizer(tokenizer, n_vocab=vocabulary)  # type: ignore[arg-type]

    def compile(self, schema: dict[str, Any]) -> LlMatcher:
        """A matcher for compact JSON with keys in the schema's order. Raises EngineFailed if it cannot be made."""
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=COMPACT)
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            reason = matcher.get_error().strip().splitlines()[0]
            raise EngineFailed(model=self._model, reason=f"the JSON Schema cannot be made a grammar: {reason}")
        return LlMatcher(matcher, self._model)


def _forbid(scores: torch.Tensor, bits: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
    """Minus infinity for tokens whose bit is 0, the lowest bit first; returns how many are left."""
    import numpy as np
    import torch

    allowed = np.unpackbits(bits, count=scores.shape[0], bitorder="little")
    scores.masked_fill_(torch.from_numpy(allowed == 0).to(scores.device), float("-inf"))
    return int(allowed.sum())


class LlMatcher:
    """One output on its way through a grammar of llguidance, whoever chooses its tokens."""

    def __init__(self, matcher: Any, model: str) -> None:
        self._matcher = matcher
        self._model = model

    @property
    def finished(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which tokens may come next, of all the grammar's `[vocabulary]`."""
        import numpy as np

        return np.unpackbits(self._bits(), bitorder="little").astype(bool)

    def forced(self) -> list[int]:
        """Takes every token that must come next, and returns them."""
        tokens: list[int] = []
        while not self.finished and (more := self._matcher.compute_ff_tokens()):
            self._matcher.consume_tokens(more)
            tokens += more
        self._check()
        return tokens

    def mask(self, scores: torch.Tensor) -> int:
        """Sets the scores `[vocabulary]` of forbidden tokens to minus infinity, in place; returns how many are left."""
        return _forbid(scores, self._bits())

    def _bits(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Which tokens may come next, a bit each."""
        import numpy as np

        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        return bits

    def accept(self, token: int) -> None:
        """Takes a token. Raises EngineFailed if the grammar forbids it."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = self._matcher.get_error().strip().splitlines()[0]
            raise EngineFailed(model=self._model, reason=f"the output left its grammar: {reason}")


class XGrammar:
    """Grammar by xgrammar (https://github.com/mlc-ai/xgrammar), which an operator installs."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: int, model: str) -> None:
        try:
            self._library = importlib.import_module("xgrammar")
        except ModuleNotFoundError as error:
            raise EngineFailed(model=model, reason="its grammar is xgrammar: pip install xgrammar") from error
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        about = self._library.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
        self._compiler = self._library.GrammarCompiler(about, max_threads=1, cache_enabled=False)

    def compile(self, schema: dict[str, Any]) -> Matcher:
        """A matcher for compact JSON with keys in the schema's order. Raises EngineFailed if it cannot be made."""
        try:
            grammar = self._compiler.compile_json_schema(
                json.dumps(schema), any_whitespace=False, separators=(",", ":"), strict_mode=True
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineFailed(
                model=self._model, reason=f"the JSON Schema cannot be made a grammar: {reason}"
            ) from error
        matcher = self._library.GrammarMatcher(grammar, terminate_without_stop_token=True)
        return _XMatcher(matcher, self._tokenizer, self._vocabulary, self._model)


class _XMatcher:
    def __init__(self, matcher: Any, tokenizer: PreTrainedTokenizerBase, vocabulary: int, model: str) -> None:
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._model = model

    @property
    def finished(self) -> bool:
        return bool(self._matcher.is_terminated())

    def forced(self) -> list[int]:
        text: str = self._matcher.find_jump_forward_string()
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        taken: list[int] = []
        # The last token may be the beginning of a longer one: the model chooses it, unless nothing follows.
        for token in tokens:
            if len(taken) == len(tokens) - 1 and not self._ends(token):
                break
            self.accept(token)
            taken.append(token)
        return taken

    def mask(self, scores: torch.Tensor) -> int:
        import numpy as np

        bits = np.zeros((1, (self._vocabulary + 31) // 32), dtype=np.int32)
        bits.fill(-1)
        self._matcher.fill_next_token_bitmask(bits)
        return _forbid(scores, bits.view(np.uint8)[0])

    def accept(self, token: int) -> None:
        if not self._matcher.accept_token(token):
            raise EngineFailed(model=self._model, reason=f"the output left its grammar: token {token} is forbidden")

    def _ends(self, token: int) -> bool:
        """Whether the output is whole with a token."""
        trial = self._matcher.fork()
        return bool(trial.accept_token(token) and trial.is_terminated())


#: The engines, by the name a team file uses.
GRAMMARS: dict[str, Callable[[PreTrainedTokenizerBase, int, str], Grammar]] = {
    "llguidance": LlGuidance,
    "xgrammar": XGrammar,
}
