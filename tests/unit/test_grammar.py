"""The grammar, on a vocabulary of single bytes: what it forces, what it leaves free, what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from metier.actors.engines.grammar import LlGuidance, Matcher
from metier.topics.errors import EngineFailed

TRIP = {
    "type": "object",
    "properties": {"to": {"enum": [None, "Paris", "Lyon"]}, "seats": {"type": "integer"}},
    "required": ["to", "seats"],
    "additionalProperties": False,
}
END = 256


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE({symbol: at for at, symbol in enumerate(alphabet)}, []))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token="<end>")  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def grammar(tokenizer: PreTrainedTokenizerFast) -> LlGuidance:
    return LlGuidance(tokenizer, END + 1, "bytes")


def read(matcher: Matcher, text: str, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """How many tokens the grammar allowed at each step, the text's own token being one of them."""
    counts = []
    for token in tokenizer(text)["input_ids"]:
        scores = torch.zeros(END + 1)
        counts.append(matcher.mask(scores))
        assert scores[token] == 0, f"forbidden in {text!r} after {len(counts) - 1} tokens"
        matcher.accept(token)
    return counts


def test_compact_json_in_the_order_of_the_schema_is_accepted(
    grammar: LlGuidance, tokenizer: PreTrainedTokenizerFast
) -> None:
    matcher = grammar.compile(TRIP)
    read(matcher, '{"to":"Paris","seats":2}', tokenizer)
    assert matcher.finished


@pytest.mark.parametrize("text", ['{ "to"', '{"seats"', '{"to":"Rome"', '{"to":null, '])
def test_what_the_schema_does_not_say_is_forbidden(
    grammar: LlGuidance, tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    with pytest.raises(AssertionError, match="forbidden"):
        read(grammar.compile(TRIP), text, tokenizer)


def test_keys_are_forced_and_values_are_free(grammar: LlGuidance, tokenizer: PreTrainedTokenizerFast) -> None:
    matcher = grammar.compile(TRIP)
    assert '{"to":' == tokenizer.decode(matcher.forced())
    assert [2] == read(matcher, "n", tokenizer)
    assert 'ull,"seats":' == tokenizer.decode(matcher.forced())


def test_a_key_of_160_values_allows_each_of_them(grammar: LlGuidance, tokenizer: PreTrainedTokenizerFast) -> None:
    values = [f"the words {at} of a déjà-vu request" for at in range(160)]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: {"enum": [None, *values]} for key in "abcdef"},
        "required": list("abcdef"),
        "additionalProperties": False,
    }
    said = dict.fromkeys("abcdef", values[77])
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    matcher = grammar.compile(schema)
    read(matcher, text, tokenizer)
    assert matcher.finished


def test_a_schema_that_cannot_be_a_grammar_is_refused_with_the_reason(grammar: LlGuidance) -> None:
    with pytest.raises(EngineFailed, match=r"the JSON Schema cannot be made a grammar: .*nonsense"):
        grammar.compile({"type": "nonsense"})


def test_a_token_outside_the_grammar_ends_the_output(grammar: LlGuidance) -> None:
    matcher = grammar.compile(TRIP)
    with pytest.raises(EngineFailed, match="the output left its grammar"):
        matcher.accept(END)
