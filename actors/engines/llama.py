"""The Llama family on a CPU: the forward pass, for serving alone.

Transformers' own is written for every use, and for one token of a small model three quarters of its time on a CPU go to
operators that multiply nothing. Here queries, keys and values are one multiplication, keys and values have their place
from the beginning, and a weight is in the form that multiplies so many rows fastest.

Touvron et al. 2023, arXiv:2302.13971, 2.2; grouped queries: Ainslie et al. 2023, arXiv:2305.13245. Adapters: Hu et al.
2021, arXiv:2106.09685, 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from .packing import Matrix

#: An adapter's part of a product: `[..., in] @ A @ B`, with `A` `[in, rank]` and `B` `[rank, out]`.
Delta = tuple[torch.Tensor, torch.Tensor]


def fits(model: Any) -> bool:
    """Whether `Llama` reads a model on a CPU as Transformers does. PEFT may have given it its adapters."""
    config = model.config
    return (
        config.model_type == "llama"
        and config.hidden_act == "silu"
        and (config.rope_parameters or {}).get("rope_type") in ("default", "linear", "llama3")
        and not (config.attention_bias or config.mlp_bias)
        and all(_known(name, module) for name, module in model.named_modules())
    )


def _known(name: str, module: Any) -> bool:
    """Whether what PEFT made of a module, if anything, is what `Product` adds."""
    if hasattr(module, "modules_to_save") or hasattr(module, "trainable_tokens_delta"):
        return False
    if not hasattr(module, "lora_A"):
        return True
    plain = not (module.lora_magnitude_vector or any(module.lora_bias.values()))
    return plain and isinstance(module.base_layer, torch.nn.Linear) and name.endswith("_proj")


class Product:
    """Layers that multiply the same input, as one: `[..., in]` to `[..., all their outs]`, with what adapters add."""

    def __init__(self, layers: Sequence[Any], adapters: Sequence[str], dtype: torch.dtype) -> None:
        weights = [getattr(layer, "base_layer", layer).weight.detach() for layer in layers]
        self._matrix = Matrix(torch.cat(weights), dtype)
        self._deltas = {name: found for name in adapters if (found := _delta(layers, name))}

    def __call__(self, inputs: torch.Tensor, parts: Mapping[str, torch.Tensor | None]) -> torch.Tensor:
        """`parts`: which rows of the batch each adapter in use has; None if it has all of them."""
        outputs = self._matrix(inputs)
        for name, rows in parts.items():
            if name in self._deltas:
                a, b = self._deltas[name]  # in float32: small changes, that bfloat16 would round
                if rows is None:
                    outputs += inputs.float() @ a @ b
                else:
                    outputs[rows] += (inputs[rows].float() @ a @ b).to(outputs.dtype)
        return outputs


def _delta(layers: Sequence[Any], name: str) -> Delta | None:
    """What an adapter adds to layers side by side: its `A` beside each other, its `B` on a diagonal, scaled."""
    found = [_lora(layer, name) for layer in layers]
    if not any(found):
        return None
    height, rank = sum(layer.out_features for layer in layers), sum(pair[0].shape[0] for pair in found if pair)
    a = torch.cat([pair[0] for pair in found if pair]).T
    b = torch.zeros(rank, height)
    column = row = 0
    for layer, pair in zip(layers, found, strict=True):
        if pair:
            b[row : row + pair[1].shape[1], column : column + layer.out_features] = pair[1].T
            row += pair[1].shape[1]
        column += layer.out_features
    return a.float().contiguous(), b.contiguous()


def _lora(layer: Any, name: str) -> Delta | None:
    """`[rank, in]` and `[out, rank]`, the second scaled, of a layer that PEFT has wrapped."""
    if name not in getattr(layer, "lora_A", {}):
        return None
    return layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach() * layer.scaling[name]


class Layer:
    """One block: attention, then the feed-forward network."""

    def __init__(self, layer: Any, adapters: Sequence[str], dtype: torch.dtype) -> None:
        attention, network = layer.self_attn, layer.mlp
        self.before = layer.input_layernorm.weight.detach().to(dtype)
        self.qkv = Product((attention.q_proj, attention.k_proj, attention.v_proj), adapters, dtype)
        self.out = Product((attention.o_proj,), adapters, dtype)
        self.between = layer.post_attention_layernorm.weight.detach().to(dtype)
        self.gate_up = Product((network.gate_proj, network.up_proj), adapters, dtype)
        self.down = Product((network.down_proj,), adapters, dtype)


class Llama:
    """A model that Transformers has read, and PEFT given its adapters. It keeps its weights in forms of its own."""

    def __init__(self, model: Any, adapters: Sequence[str], dtype: torch.dtype) -> None:
        config, trunk = model.config, model.model
        self.dtype = dtype
        self.heads: int = config.num_attention_heads
        self.groups: int = config.num_key_value_heads
        self.size: int = config.head_dim
        self.epsilon: float = config.rms_norm_eps
        self.layers = [Layer(layer, adapters, dtype) for layer in trunk.layers]
        self.embedding = trunk.embed_tokens.weight.detach().to(dtype)
        self.last = trunk.norm.weight.detach().to(dtype)
        self.head = Matrix(model.lm_head.weight.detach(), dtype)
        positions = torch.arange(config.max_position_embeddings)[None]
        cos, sin = trunk.rotary_emb(torch.empty(0), positions)
        self.cos, self.sin = cos[0].to(dtype), sin[0].to(dtype)

    def begin(self, adapters: Sequence[str | None], pads: Sequence[int], room: int) -> Sequences:
        """Sequences `[B]` with `pads` of their first tokens left out, of at most `room` tokens each, pads included."""
        return Sequences(self, adapters, torch.tensor(pads), room)


class Sequences:
    """A batch of sequences that is read on and on, with the keys and values of what was read."""

    def __init__(self, model: Llama, adapters: Sequence[str | None], pads: torch.Tensor, room: int) -> None:
        self._model = model
        self._adapters = list(adapters)
        self._pads = pads
        self._at = 0
        self._kept = torch.empty((len(model.layers), 2, len(pads), model.groups, room, model.size), dtype=model.dtype)
        self._parts = self._who()

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with these rows of the batch alone."""
        self._adapters = [self._adapters[row] for row in rows]
        self._pads, self._kept = self._pads[rows], self._kept[:, :, rows]
        self._parts = self._who()

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Reads the next tokens of each `[B, T]`, and returns the scores of what may follow `[B, V]`, in float32."""
        model, (batch, count) = self._model, ids.shape
        end = self._at + count
        positions = (torch.arange(self._at, end) - self._pads[:, None]).clamp(min=0)
        turned = model.cos[positions][:, None], model.sin[positions][:, None]
        mask = self._mask(end)
        hidden = functional.embedding(ids, model.embedding)
        for layer, kept in zip(model.layers, self._kept, strict=True):
            mixed = layer.qkv(self._norm(hidden, layer.before), self._parts)
            found = self._attend(mixed.view(batch, count, -1, model.size).transpose(1, 2), kept, turned, mask)
            hidden = hidden + layer.out(found, self._parts)
            gate, up = layer.gate_up(self._norm(hidden, layer.between), self._parts).chunk(2, dim=-1)
            hidden = hidden + layer.down(functional.silu(gate) * up, self._parts)
        self._at = end
        scores = model.head(self._norm(hidden[:, -1], model.last))
        return scores.float()

    def _norm(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(hidden, weight.shape, weight, self._model.epsilon)

    def _attend(
        self,
        mixed: torch.Tensor,
        kept: torch.Tensor,
        turned: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """`[B, T, hidden]` of queries, keys and values `[B, heads of all three, T, size]`; the latter two are kept."""
        model, (batch, _, count, size) = self._model, mixed.shape
        begin, end = self._at, self._at + count
        turning, values = mixed[:, : model.heads + model.groups], mixed[:, model.heads + model.groups :]
        first, second = turning.chunk(2, dim=-1)
        turning = turning * turned[0] + torch.cat((-second, first), dim=-1) * turned[1]
        kept[0, :, :, begin:end], kept[1, :, :, begin:end] = turning[:, model.heads :], values
        queries, keys, values = turning[:, : model.heads], kept[0, :, :, :end], kept[1, :, :, :end]
        each = model.heads // model.groups
        if count == 1:  # the queries of a group stand where those of several tokens would
            queries = queries.reshape(batch, model.groups, each, size)
            found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        else:
            keys, values = keys.repeat_interleave(each, dim=1), values.repeat_interleave(each, dim=1)
            found = functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, is_causal=mask is None
            )
            found = found.transpose(1, 2)
        return found.reshape(batch, count, model.heads * size)

    def _mask(self, end: int) -> torch.Tensor | None:
        """Which tokens up to `end` each that is read may see `[B, 1, T, end]`; None: all up to itself."""
        begin, padded = self._at, bool(self._pads.any())
        if not padded and (begin == 0 or end - begin == 1):
            return None
        reading, all_ = torch.arange(begin, end)[:, None], torch.arange(end)[None]
        # A pad sees itself: one that saw nothing would have no numbers, and nor would who skips it.
        return (((all_ <= reading) & (all_ >= self._pads[:, None, None])) | (all_ == reading))[:, None]

    def _who(self) -> dict[str, torch.Tensor | None]:
        """The rows of each adapter in use."""
        names = {name for name in self._adapters if name is not None}
        rows = {name: [row for row, other in enumerate(self._adapters) if other == name] for name in names}
        return {name: torch.tensor(found) if len(found) < len(self._adapters) else None for name, found in rows.items()}
