"""Training that is broken off goes on, to the same weights as if it had not been."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metier.actors.learning.descent import STATE, Course, Group, descend
from metier.topics.errors import InvalidInput

COURSE = Course(told=2, kept=2)
PLAN = [float(at) for at in range(7)]


class BrokenOffError(Exception):
    pass


def run(folder: Path, breaks_at: float | None = None, identity: object = "one") -> tuple[list[float], torch.Tensor]:
    torch.manual_seed(7)
    weight = torch.nn.Parameter(torch.zeros(3))

    def loss(item: float) -> torch.Tensor:
        if item == breaks_at:
            raise BrokenOffError
        return ((weight + torch.rand(3) - item) ** 2).sum()

    losses = descend([Group([weight], 0.1)], PLAN, loss, COURSE, folder, identity)
    return losses, weight.detach()


def test_a_run_that_was_broken_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, weight = run(tmp_path / "whole")
    with pytest.raises(BrokenOffError):
        run(tmp_path / "broken", breaks_at=5.0)
    assert (tmp_path / "broken" / STATE).exists()
    again, same = run(tmp_path / "broken")
    assert whole == again
    assert torch.equal(weight, same)
    assert not (tmp_path / "broken" / STATE).exists()


def test_another_run_does_not_go_on_from_it(tmp_path: Path) -> None:
    with pytest.raises(BrokenOffError):
        run(tmp_path, breaks_at=5.0)
    with pytest.raises(InvalidInput, match="other settings"):
        run(tmp_path, identity="two")
