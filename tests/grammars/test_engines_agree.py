"""llguidance and xgrammar on the same schemas: what one accepts the other accepts, and no output of theirs is wrong.

make grammars
"""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import torch
from transformers import AutoTokenizer

from metier.actors.engines.grammar import GRAMMARS, Grammar, Matcher
from metier.actors.engines.sources import KNOWN, pull
from metier.topics.errors import EngineFailed

WORDS = ["Paris", "New York", "Toronto", "30 EUR", "l'après-midi", 'say "hi"', "3", "a", "ab", "abc"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(pull(KNOWN["smollm2-135m-instruct"]))


@pytest.fixture(scope="module", params=sorted(GRAMMARS))
def grammar(request: pytest.FixtureRequest, tokenizer: Any) -> Grammar:
    return GRAMMARS[request.param](tokenizer, len(tokenizer), "small")


@pytest.fixture(scope="module")
def both(tokenizer: Any) -> list[Grammar]:
    return [GRAMMARS[name](tokenizer, len(tokenizer), "small") for name in sorted(GRAMMARS)]


def drawn(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A schema as tools offer it."""
    kind = rng.choice(("enum", "enum", "numbers", "bool", "list") if depth else ("enum", "object", "object"))
    if kind == "enum":
        return {"enum": [None, *rng.sample(WORDS, rng.randint(1, 6))]}
    if kind == "numbers":
        return {"enum": [None, *rng.sample([1, 2, 12, 2.5, -3, 1000000], 3)]}
    if kind == "bool":
        return {"enum": [None, True, False]}
    if kind == "list":
        items = {"enum": rng.sample(WORDS, 3)}
        return {"anyOf": [{"type": "null"}, {"type": "array", "items": items, "minItems": 1, "maxItems": 3}]}
    properties = {f"key_{at}": drawn(rng, depth + 1) for at in range(rng.randint(1, 4))}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS = [drawn(random.Random(seed)) for seed in range(24)]


def value(schema: dict[str, Any], rng: random.Random) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "anyOf" in schema:
        return rng.choice((None, rng.choices(schema["anyOf"][1]["items"]["enum"], k=rng.randint(1, 3))))
    return {key: value(part, rng) for key, part in schema["properties"].items()}


def accepts(matcher: Matcher, text: str, tokenizer: Any) -> bool:
    """Whether a text can come out, by whatever tokens: each time the longest that goes on with it."""
    rest = text
    while rest and not matcher.finished:
        scores = torch.zeros(len(tokenizer))
        matcher.mask(scores)
        lengths = range(min(len(rest), 12), 0, -1)
        fitting = (tokenizer(rest[:size], add_special_tokens=False)["input_ids"] for size in lengths)
        token = next((ids[0] for ids in fitting if len(ids) == 1 and scores[ids[0]] == 0), None)
        if token is None:
            return False
        matcher.accept(token)
        rest = rest.removeprefix(tokenizer.decode([token]))
    return matcher.finished and not rest


@pytest.mark.parametrize("seed", range(len(SCHEMAS)))
def test_both_accept_what_obeys_and_refuse_what_does_not(both: list[Grammar], tokenizer: Any, seed: int) -> None:
    rng, schema = random.Random(seed), SCHEMAS[seed]
    for _ in range(4):
        text = json.dumps(value(schema, rng), ensure_ascii=False, separators=(",", ":"))
        wrong = text[:-1] + rng.choice((" ", "x", ",", "]"))
        for written, right in ((text, True), (wrong, False)):
            found = [accepts(grammar.compile(schema), written, tokenizer) for grammar in both]
            assert [right, right] == found, written


@pytest.mark.parametrize("seed", range(len(SCHEMAS)))
def test_what_comes_out_obeys_whatever_is_chosen(grammar: Grammar, tokenizer: Any, seed: int) -> None:
    generator, schema = torch.Generator().manual_seed(seed), SCHEMAS[seed]
    matcher = grammar.compile(schema)
    tokens = matcher.forced()
    while not matcher.finished:
        scores = torch.rand(len(tokenizer), generator=generator)
        assert matcher.mask(scores)
        token = int(scores.argmax())
        matcher.accept(token)
        tokens += [token, *matcher.forced()]
    jsonschema.validate(json.loads(tokenizer.decode(tokens)), schema)


def test_a_schema_that_cannot_be_a_grammar_is_refused(grammar: Grammar) -> None:
    with pytest.raises(EngineFailed, match="the JSON Schema cannot be made a grammar"):
        grammar.compile({"type": "nonsense"})


def test_a_token_outside_the_grammar_is_refused(grammar: Grammar, tokenizer: Any) -> None:
    matcher = grammar.compile(SCHEMAS[0])
    with pytest.raises(EngineFailed, match="the output left its grammar"):
        matcher.accept(tokenizer("nonsense", add_special_tokens=False)["input_ids"][0])
