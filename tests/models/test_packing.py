"""Weights laid out beforehand say the same as before."""

from __future__ import annotations

import copy

import pytest
import torch

from metier.actors.engines.packing import FEW_ROWS, Matrix, Packed, fours, pack


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


def quantised(bits: int) -> torch.Tensor:
    """A weight `[32, 64]` whose blocks of 32 have the numbers that so many bits can say."""
    random = torch.Generator().manual_seed(7)
    numbers = torch.randint(0, 2**bits, (32, 2, 32), generator=random).float()
    numbers[..., 0], numbers[..., 1] = 0, 2**bits - 1
    scale, least = torch.rand(32, 2, 1, generator=random) / 10, torch.randn(32, 2, 1, generator=random)
    return (numbers * scale + least).flatten(1)


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1])
def test_a_weight_that_came_in_four_bits_multiplies_as_it_did(rows: int) -> None:
    weight, inputs = quantised(4), torch.randn(rows, 64, generator=torch.Generator().manual_seed(8)).bfloat16()

    with torch.inference_mode():
        found = Matrix(weight, torch.bfloat16)(inputs[None])

    exact = inputs.float() @ weight.T
    assert (1, rows, 32) == tuple(found.shape)
    assert float((found[0].float() - exact).abs().max()) < 0.01 * float(exact.abs().max())


def test_a_weight_that_four_bits_cannot_say_is_not_said_in_them() -> None:
    assert fours(quantised(4)) is not None
    assert fours(quantised(5)) is None
    assert fours(torch.randn(32, 64)) is None
    assert fours(quantised(4)[:, :40]) is None
