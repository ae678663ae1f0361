"""Weights laid out beforehand say the same as before."""

from __future__ import annotations

import copy

import pytest
import torch

from metier.actors.engines.packing import Packed, pack


@pytest.mark.parametrize("shape", [(1, 1, 96), (1, 25, 96), (4, 7, 96), (5, 96)])
def test_packed_layers_multiply_as_they_did(shape: tuple[int, ...]) -> None:
    torch.manual_seed(7)
    first, second = torch.nn.Linear(96, 64), torch.nn.Linear(64, 32, bias=False)
    layers = torch.nn.Sequential(first, torch.nn.Sequential(second)).to(torch.bfloat16)
    packed, inputs = pack(copy.deepcopy(layers)), torch.randn(shape, dtype=torch.bfloat16)

    with torch.inference_mode():
        torch.testing.assert_close(packed(inputs), layers(inputs))
    assert 2 == sum(isinstance(layer, Packed) for layer in packed.modules())


def test_layers_of_other_numbers_are_left_as_they_are() -> None:
    packed = pack(torch.nn.Sequential(torch.nn.Linear(8, 8)))

    assert not any(isinstance(layer, Packed) for layer in packed.modules())
