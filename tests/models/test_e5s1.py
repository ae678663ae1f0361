"""The format E5S1: a file made here is read to the bit, and the bundled encoder knows a sentence in both languages."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertModel

from metier.actors.engines.e5s1 import convert
from metier.actors.engines.encoder import embed, shortened, tokenize

HIDDEN, INNER = 32, 64
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁to", "▁Rome", "Ж", "é", "3"]


def packed(values: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    """Four bits a weight, in blocks of 32: a scale, then the halves."""
    blocks = values.reshape(-1, 32)
    codes = np.clip(np.round(blocks / 0.5) + 8, 0, 15).astype(np.uint8)
    return b"".join(struct.pack("<e", 0.5) + bytes(row[:16] | (row[16:] << 4)) for row in codes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model of one layer whose weights are multiples of a half."""
    rng = np.random.default_rng(7)

    def halves(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return (rng.integers(-8, 8, shape) / 2).astype(np.float32)

    tensors: dict[str, tuple[int, np.ndarray[Any, np.dtype[np.float32]]]] = {
        "emb.word": (1, halves(len(PIECES), HIDDEN)),
        "emb.pos": (0, halves(16, HIDDEN)),
        "emb.type": (0, halves(2, HIDDEN)),
        "emb.ln.w": (0, halves(HIDDEN)),
        "emb.ln.b": (0, halves(HIDDEN)),
    }
    for part, (rows, columns) in {"fi": (INNER, HIDDEN), "fo": (HIDDEN, INNER)}.items():
        tensors[f"l0.{part}.w"], tensors[f"l0.{part}.b"] = (1, halves(rows, columns)), (0, halves(rows))
    for part in ("q", "k", "v", "ao"):
        tensors[f"l0.{part}.w"], tensors[f"l0.{part}.b"] = (1, halves(HIDDEN, HIDDEN)), (0, halves(HIDDEN))
    for part in ("aln", "oln"):
        tensors[f"l0.{part}.w"], tensors[f"l0.{part}.b"] = (0, halves(HIDDEN)), (0, halves(HIDDEN))
    blob = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, blob)]).astype("<u4")
    head = struct.pack("<4sI7ifi", b"E5S1", 1, HIDDEN, 1, 2, INNER, len(PIECES), 16, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(ends[-1])) + ends.tobytes()
    head += struct.pack(f"<{len(PIECES)}f", *(-float(at) for at in range(len(PIECES)))) + b"".join(blob)
    head += struct.pack("<iI", 0, 0) + struct.pack("<i", len(tensors))
    size = len(head) + sum(2 + len(name) + 21 for name in tensors)
    directory, data = b"", b""
    for name, (kind, values) in tensors.items():
        body = packed(values) if kind else values.astype("<f4").tobytes()
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, values.size, size + len(data), len(body))
        data += body
    path = tmp_path / "model.bin"
    path.write_bytes(head + directory + data)
    truth: Any = {name: values for name, (_, values) in tensors.items()}
    np.savez(tmp_path / "truth.npz", **truth)
    return path


def test_weights_come_out_as_they_went_in(file: Path, tmp_path: Path) -> None:
    model: Any = BertModel.from_pretrained(convert(file, tmp_path / "ready"), add_pooling_layer=False)
    truth = np.load(tmp_path / "truth.npz")
    layer = model.encoder.layer[0]
    for weight, name in (
        (layer.attention.self.query.weight, "l0.q.w"),
        (layer.output.dense.weight, "l0.fo.w"),
        (layer.intermediate.dense.bias, "l0.fi.b"),
        (layer.output.LayerNorm.weight, "l0.oln.w"),
    ):
        assert np.array_equal(truth[name], weight.detach().float().numpy())
    latin = [at for at, piece in enumerate(PIECES) if piece != "Ж"]
    assert np.array_equal(truth["emb.word"][latin], model.embeddings.word_embeddings.weight.detach().float().numpy())


def test_words_are_cut_into_the_pieces_that_are_written_in_latin_letters(file: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(convert(file, tmp_path / "ready"))
    ids = tokenizer("to   Rome é 3")["input_ids"]
    assert ["<s>", "▁to", "▁Rome", "▁", "é", "▁", "3", "</s>"] == tokenizer.convert_ids_to_tokens(ids)
    assert tokenizer.unk_token_id in tokenizer("to Ж")["input_ids"]


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ValueError, match="E5S1"):
        convert(tmp_path / "other.bin", tmp_path / "ready")


def test_the_bundled_encoder_reads_french_as_it_reads_english(e5: Path) -> None:
    model: Any = BertModel.from_pretrained(e5, add_pooling_layer=False, dtype=torch.float32)
    texts = ["Trouve-moi un avion pour Rome", "Find me a plane to Rome", "Quel temps fera-t-il à Nice ?"]
    with torch.inference_mode():
        vectors = embed(model, tokenize(AutoTokenizer.from_pretrained(e5), texts, "query: "))
    plane, same, weather = vectors
    assert float(plane @ same) > 0.95 > 0.9 > float(plane @ weather)


def test_a_model_is_cut_to_its_first_layers(e5: Path) -> None:
    model: Any = BertModel.from_pretrained(e5, add_pooling_layer=False)
    assert 12 == len(shortened(model, 0).encoder.layer)
    assert 6 == len(shortened(model, 6).encoder.layer)
