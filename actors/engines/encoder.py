"""The router's encoder: a sentence encoder with heads that say which specialists a request needs.

Without trained heads it goes by example (`nearest.py`), and so it does for specialists that the heads do not know. The
heads lie in a directory of their own:

    heads.json           what the heads are (`Heads`)
    heads.safetensors    specialists.weight [L, H], specialists.bias [L], open.weight [1, H], open.bias [1],
                         private.weight [1, H], private.bias [1]; the last two may be absent
    adapter/             a PEFT LoRA of the encoder, merged into it at load; may be absent

A logit is `(weight · embedding * scale + bias) / temperature`. The embedding is the mean over word pieces of the last
layer, of length one (https://arxiv.org/abs/1908.10084). Heads are of one of two kinds:

    several    any number of labels may be right: a label's probability is the sigmoid of its logit, and so is that of
               being open
    one        one label is right: their probabilities are the softmax of their logits; open is what has a high free
               energy, minus the logarithm of the sum of the logits' exponentials (Liu et al. 2020, arXiv 2010.03759)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from metier.topics.errors import EngineFailed

from .adapters import attach
from .base import Routing
from .batch import Batcher
from .hardware import chosen, read_in
from .nearest import ANYTHING, Nearest, flat
from .sources import Manifest, required

if TYPE_CHECKING:
    import torch

#: Word pieces read of a text; the rest is cut.
LONGEST = 256


class EncoderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which encoder, and how it is run."""

    #: Directory of the base encoder, a BertModel.
    path: str
    #: Directory of the heads; none: requests are routed by `examples`.
    heads: str | None = None
    #: Example requests of each specialist; those of specialists that the heads know are not needed.
    examples: dict[str, tuple[str, ...]] = {}
    #: The model as it is shown.
    name: str
    max_batch: int = 16
    #: How long the first text of a batch waits for others.
    wait_ms: float = 0
    #: Threads of one pass; 0 leaves it to torch: one for each core.
    threads: int = 1
    #: "auto" is bfloat16 where the processor multiplies it.
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


class Heads(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """heads.json: what the heads are, and how their scores are read."""

    #: Specialists, in the order of the rows of `specialists.weight`.
    labels: list[str]
    version: str
    #: SHA-256 of the wheel the base encoder came in, in hex; none for a base from elsewhere.
    base_sha256: str = ""
    kind: Literal["several", "one"] = "several"
    #: Put before each text, as the base was trained to read it.
    prefix: str = ""
    #: Of the base's layers, the first so many are run; 0 for all.
    layers: int = 0
    #: Factor of the embedding before the heads.
    scale: float = 1.0
    #: Divisors of the logits, fitted on held-out requests so that probabilities are calibrated.
    temperature: float = 1.0
    open_temperature: float = 1.0
    #: Of heads of the kind "one": the free energy at which a text is as likely open as not, and how fast that changes.
    energy: float = 0.0
    energy_slope: float = 1.0
    #: Probabilities from which a label counts, by label; "open" among them.
    thresholds: dict[str, float] = {}


def embed(model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Embeddings `[batch, H]` of length one. Training and serving both call this."""
    import torch

    hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return torch.nn.functional.normalize(mean.float(), dim=-1)


def tokenize(tokenizer: Any, texts: Sequence[str], prefix: str = "") -> Mapping[str, torch.Tensor]:
    """Word pieces of texts, cut to `LONGEST` and padded. Training and serving both call this."""
    whole = [prefix + text for text in texts]
    inputs = tokenizer(whole, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    return dict(inputs)


def base(path: str | Path) -> Any:
    """The BertModel in a directory, ready for an adapter."""
    from transformers import BertModel

    model: Any = BertModel.from_pretrained(path, add_pooling_layer=False, dtype="auto")
    # Adapters are merged in float32: the small changes they make would be lost in bfloat16.
    model.encoder.float()
    return model.eval()


def shortened(model: Any, layers: int) -> Any:
    """A BertModel with its first `layers` layers; all of them where that is 0."""
    if layers:
        model.encoder.layer = model.encoder.layer[:layers]
        model.config.num_hidden_layers = layers
    return model


class Linear:
    """Trained heads."""

    def __init__(self, about: Heads, weights: Mapping[str, torch.Tensor]) -> None:
        self.about = about
        self.labels = about.labels
        self._weights = weights

    def private(self, embeddings: torch.Tensor) -> list[float]:
        """Of texts `[B, H]`: the probability of being private `[B]`; 0 if that was not learned."""
        import torch

        if "private.weight" not in self._weights:
            return [0.0] * len(embeddings)
        weight, bias = self._weights["private.weight"], self._weights["private.bias"]
        logits = torch.nn.functional.linear(embeddings.float() * self.about.scale, weight, bias)
        return torch.sigmoid(logits).squeeze(-1).tolist()

    def score(self, embeddings: torch.Tensor) -> tuple[list[list[float]], list[float]]:
        """Of texts `[B, H]`: the probability of each label `[B, L]`, and of being open `[B]`."""
        import torch

        about, weights, scaled = self.about, self._weights, embeddings.float() * self.about.scale
        linear = torch.nn.functional.linear
        logits = linear(scaled, weights["specialists.weight"], weights["specialists.bias"]) / about.temperature
        if about.kind == "one":
            energy = -torch.logsumexp(logits, dim=-1)
            return logits.softmax(-1).tolist(), torch.sigmoid((energy - about.energy) * about.energy_slope).tolist()
        opens = linear(scaled, weights["open.weight"], weights["open.bias"]) / about.open_temperature
        return torch.sigmoid(logits).tolist(), torch.sigmoid(opens).squeeze(-1).tolist()


class RouterEncoder:
    """Encoder of the BERT family. Of a text longer than 256 word pieces only the beginning is read."""

    def __init__(self, settings: EncoderSettings) -> None:
        self._settings = settings
        self._batcher: Batcher[str, Routing] = Batcher(self._read, largest=settings.max_batch, wait_ms=settings.wait_ms)
        self._tokenizer: Any = None
        self._model: Any = None
        self._heads: Linear | Nearest | None = None
        #: The encoder as it was before it was tuned, and the examples of specialists that the heads do not know.
        self._added: tuple[Any, Nearest] | None = None

    @property
    def model(self) -> str:
        """The model as it is shown, with the version of its heads once they are loaded."""
        version = self._heads.about.version if isinstance(self._heads, Linear) else ""
        return f"{self._settings.name} {version}".rstrip()

    async def load(self) -> None:
        """Reads the encoder and its heads. Raises ModelMissing, or EngineFailed if they do not fit each other."""
        required(self._settings.path, self.model)
        await asyncio.to_thread(read_in, self._load, self._settings.threads)

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
        from transformers import AutoTokenizer
        from transformers.utils import logging

        from .packing import pack

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        self._tokenizer = AutoTokenizer.from_pretrained(self._settings.path)
        dtype = chosen(self._settings.dtype)
        examples = self._settings.examples
        model = base(self._settings.path)
        if self._settings.heads is not None:
            self._heads, model = self._trained(model, Path(self._settings.heads))
            examples = {name: texts for name, texts in examples.items() if name not in self._heads.labels}
            if bare := [name for name, texts in examples.items() if not texts]:
                raise EngineFailed(model=self.model, reason=f"its heads do not know {bare[0]!r}: give it `examples`")
        elif not any(examples.values()):
            raise EngineFailed(model=self.model, reason="it has neither heads nor examples")
        self._model = pack(model.to(dtype))
        if self._settings.heads is None:
            self._heads = self._nearest(self._model, examples)
        elif examples:
            plain = pack(base(self._settings.path).to(dtype))
            self._added = (plain, self._nearest(plain, examples))

    def _nearest(self, model: Any, examples: Mapping[str, Sequence[str]]) -> Nearest:
        import torch

        labels, owners, texts = flat(examples)
        with torch.inference_mode():
            embeddings, anything = (embed(model, self._pieces(some)) for some in (texts, ANYTHING))
            return Nearest(labels, owners, embeddings, anything)

    def _pieces(self, texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        return tokenize(self._tokenizer, texts, self._heads.about.prefix if isinstance(self._heads, Linear) else "")

    def _trained(self, model: Any, folder: Path) -> tuple[Linear, Any]:
        """The heads, and the model with its adapter merged in."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            heads = msgspec.json.decode((folder / "heads.json").read_bytes(), type=Heads)
            weights = load_file(folder / "heads.safetensors")
        except (OSError, msgspec.DecodeError, SafetensorError) as error:
            raise EngineFailed(model=self.model, reason=f"its heads cannot be read: {error}") from error
        self._check(heads, weights, model.config.hidden_size)
        model = shortened(model, heads.layers)
        if (folder / "adapter" / "adapter_config.json").is_file():
            model = attach(model, {"router": str(folder / "adapter")}, self.model).merge_and_unload()
        return Linear(heads, weights), model.eval()

    def _check(self, heads: Heads, weights: Mapping[str, torch.Tensor], size: int) -> None:
        count = len(heads.labels)
        shapes = {"specialists.weight": (count, size), "specialists.bias": (count,)}
        if heads.kind == "several":
            shapes |= {"open.weight": (1, size), "open.bias": (1,)}
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
        heads = self._heads
        assert heads is not None
        inputs, labels = self._pieces(texts), list(heads.labels)
        with torch.inference_mode():
            embeddings = embed(self._model, inputs)
            needed, is_open = heads.score(embeddings)
            private = heads.private(embeddings) if isinstance(heads, Linear) else [0.0] * len(texts)
            if self._added:
                plain, nearest = self._added
                added, _ = nearest.score(embed(plain, inputs))
                labels += nearest.labels
                needed = [[*known, *new] for known, new in zip(needed, added, strict=True)]
                # The heads never heard of this trade: what is for it seems open to them.
                is_open = [min(seems, 1 - max(new)) for seems, new in zip(is_open, added, strict=True)]
        seconds = time.perf_counter() - started
        tokens = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            Routing(
                specialists=dict(zip(labels, row, strict=True)),
                open=open_row,
                private=private_row,
                model=self.model,
                tokens=count,
                seconds=seconds,
            )
            for row, open_row, private_row, count in zip(needed, is_open, private, tokens, strict=True)
        ]
