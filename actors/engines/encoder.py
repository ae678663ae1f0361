"""The router's encoder: a sentence encoder with heads that say which specialists a request needs.

The heads lie in a directory of their own:

    heads.json           what the heads are (`Heads`)
    heads.safetensors    specialists.weight [L, H], specialists.bias [L], open.weight [1, H], open.bias [1]
    adapter/             a PEFT LoRA of the encoder, merged into it at load; may be absent

A logit is `(weight · embedding * scale + bias) / temperature`, its probability the sigmoid of that. The embedding is
the mean over word pieces of the last layer, of length one (https://arxiv.org/abs/1908.10084).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from metier.topics.errors import EngineFailed, ModelMissing

from .adapters import attach
from .base import Routing
from .batch import Batcher
from .sources import PULL, Manifest

if TYPE_CHECKING:
    import torch

#: Word pieces read of a text; the rest is cut.
LONGEST = 256


class EncoderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which encoder, and how it is run."""

    #: Directory of the base encoder, a BertModel.
    path: str
    #: Directory of the heads.
    heads: str
    #: The model as it is shown.
    name: str
    max_batch: int = 16
    #: How long the first text of a batch waits for others.
    wait_ms: float = 0
    #: Threads of one pass; 0 leaves it to torch: one for each core.
    threads: int = 1


class Heads(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """heads.json: what the heads are, and how their scores are read."""

    #: Specialists, in the order of the rows of `specialists.weight`.
    labels: list[str]
    version: str
    #: SHA-256 of the wheel the base encoder came in, in hex; none for a base from elsewhere.
    base_sha256: str = ""
    head: str = "linear"
    #: Factor of the embedding before the heads.
    scale: float = 1.0
    #: Divisors of the logits, fitted on held-out requests so that probabilities are calibrated.
    temperature: float = 1.0
    open_temperature: float = 1.0
    #: Probabilities from which a label counts, by label; "open" among them.
    thresholds: dict[str, float] = {}


def embed(model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Embeddings `[batch, H]` of length one. Training and serving both call this."""
    import torch

    hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return torch.nn.functional.normalize(mean, dim=-1)


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
    """Word pieces of texts, cut to `LONGEST` and padded. Training and serving both call this."""
    inputs = tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    return dict(inputs)


class RouterEncoder:
    """Encoder of the BERT family. Of a text longer than 256 word pieces only the beginning is read."""

    def __init__(self, settings: EncoderSettings) -> None:
        self._settings = settings
        self._batcher: Batcher[str, Routing] = Batcher(self._read, largest=settings.max_batch, wait_ms=settings.wait_ms)
        self._tokenizer: Any = None
        self._model: Any = None
        self._weights: dict[str, torch.Tensor] = {}
        self._heads: Heads | None = None

    @property
    def model(self) -> str:
        """The model as it is shown, with the version of its heads once they are loaded."""
        return f"{self._settings.name} {self._heads.version}" if self._heads else self._settings.name

    @property
    def heads(self) -> Heads:
        """What the heads are, their thresholds among it. Raises EngineFailed before `load`."""
        if self._heads is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")
        return self._heads

    async def load(self) -> None:
        """Reads the encoder and its heads. Raises ModelMissing, or EngineFailed if they do not fit each other."""
        if not (Path(self._settings.path) / "config.json").is_file():
            raise ModelMissing(model=self.model, directory=self._settings.path, command=PULL)
        await asyncio.to_thread(self._load)

    async def route(self, text: str) -> Routing:
        """Reads one request; concurrent calls share a batch. `seconds` is that of the batch."""
        if self._model is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")
        return await self._batcher.submit(text)

    async def close(self) -> None:
        """Ends what runs and frees the model."""
        await self._batcher.close()
        self._model = None

    def _load(self) -> None:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from transformers import AutoTokenizer, BertModel
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        folder = Path(self._settings.heads)
        try:
            heads = msgspec.json.decode((folder / "heads.json").read_bytes(), type=Heads)
            weights = load_file(folder / "heads.safetensors")
        except (OSError, msgspec.DecodeError, SafetensorError) as error:
            raise EngineFailed(model=self.model, reason=f"its heads cannot be read: {error}") from error
        if self._settings.threads:
            torch.set_num_threads(self._settings.threads)
        model: Any = BertModel.from_pretrained(self._settings.path, add_pooling_layer=False)
        self._check(heads, weights, model.config.hidden_size)
        if (folder / "adapter" / "adapter_config.json").is_file():
            model = attach(model, {"router": str(folder / "adapter")}, self.model).merge_and_unload()
        self._tokenizer = AutoTokenizer.from_pretrained(self._settings.path)
        self._heads, self._weights, self._model = heads, weights, model.eval()

    def _check(self, heads: Heads, weights: dict[str, torch.Tensor], size: int) -> None:
        count = len(heads.labels)
        shapes = {
            "specialists.weight": (count, size),
            "specialists.bias": (count,),
            "open.weight": (1, size),
            "open.bias": (1,),
        }
        for name, shape in shapes.items():
            found = tuple(weights[name].shape) if name in weights else None
            if found != shape:
                raise EngineFailed(model=self.model, reason=f"its heads have {name} {found}, not {shape}")
        manifest = Path(self._settings.path) / "manifest.json"
        if heads.base_sha256 and manifest.is_file():
            base = msgspec.json.decode(manifest.read_bytes(), type=Manifest).source.sha256
            if base != heads.base_sha256:
                raise EngineFailed(model=self.model, reason=f"its heads were trained on another base than {base[:8]}")

    def _read(self, texts: list[str]) -> list[Routing]:
        import torch

        started = time.perf_counter()
        heads, weights = self.heads, self._weights
        inputs = tokenize(self._tokenizer, texts)
        with torch.inference_mode():
            embedding = embed(self._model, inputs) * heads.scale
            linear = torch.nn.functional.linear
            specialists = linear(embedding, weights["specialists.weight"], weights["specialists.bias"])
            opens = linear(embedding, weights["open.weight"], weights["open.bias"])
            needed = torch.sigmoid(specialists / heads.temperature).tolist()
            is_open = torch.sigmoid(opens / heads.open_temperature).squeeze(-1).tolist()
        seconds = time.perf_counter() - started
        tokens = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            Routing(
                specialists=dict(zip(heads.labels, row, strict=True)),
                open=open_row,
                model=self.model,
                tokens=count,
                seconds=seconds,
            )
            for row, open_row, count in zip(needed, is_open, tokens, strict=True)
        ]
