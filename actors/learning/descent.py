"""Gradient descent over a plan of steps, that tells how far it has come and can be broken off and gone on with."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch

from metier.topics.errors import InvalidInput

Item = TypeVar("Item")

_log = logging.getLogger(__name__)

#: What is left of a run that was broken off, in the folder it writes to.
STATE = "unfinished.pt"


class Group(msgspec.Struct, frozen=True):
    """Weights that learn at one rate, the highest of the run."""

    weights: list[torch.nn.Parameter]
    rate: float


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How a run goes."""

    #: Share of the steps in which the rates rise.
    warmup: float = 0.05
    #: The norm that gradients are cut to.
    clip: float = 1.0
    decay: float = 0.0
    #: Steps between two lines of progress, and between two copies of the state.
    told: int = 20
    kept: int = 100


def schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate: a linear rise, then a cosine to a twentieth."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def descend(
    groups: Sequence[Group],
    plan: Sequence[Item],
    loss: Callable[[Item], torch.Tensor],
    course: Course,
    folder: Path,
    identity: object,
) -> list[float]:
    """One step of AdamW for each item of a plan; returns the loss of each step.

    A run that was broken off in `folder` goes on where its last copy was made. Raises InvalidInput if that was another
    run: `identity` is what makes two runs the same, its recipe and its data.
    """
    weights = [weight for group in groups for weight in group.weights]
    optimizer = torch.optim.AdamW(
        [{"params": group.weights} for group in groups], lr=groups[0].rate, weight_decay=course.decay
    )
    kept = _Kept(folder / STATE, identity)
    losses = kept.read(weights, optimizer)
    begun, first = time.monotonic(), len(losses)
    for step in range(first, len(plan)):
        for group, settings in zip(groups, optimizer.param_groups, strict=True):
            settings["lr"] = group.rate * schedule(step, len(plan), course.warmup)
        found = loss(plan[step])
        found.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, course.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(found.detach()))
        done = step + 1
        if done % course.told == 0:
            left_s = (time.monotonic() - begun) / (done - first) * (len(plan) - done)
            mean = sum(losses[-course.told :]) / course.told
            _log.info("step %d of %d, loss %.4f, %.0f minutes left", done, len(plan), mean, left_s / 60)
        if done % course.kept == 0 and done < len(plan):
            kept.write(weights, optimizer, losses)
    kept.path.unlink(missing_ok=True)
    return losses


def last(losses: Sequence[float]) -> float:
    """The mean loss of the last fifty steps."""
    recent = losses[-50:]
    return round(sum(recent) / len(recent), 4)


class _Kept:
    """The state of a run, in a file."""

    def __init__(self, path: Path, identity: object) -> None:
        self.path = path
        self._identity = hashlib.sha256(msgspec.json.encode(identity)).hexdigest()

    def read(self, weights: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer) -> list[float]:
        """Takes up the state, if there is one; returns the losses so far. Raises InvalidInput."""
        if not self.path.exists():
            return []
        state: dict[str, Any] = torch.load(self.path)
        if state["identity"] != self._identity:
            reason = f"{self.path} is of a run with other settings or data: go on with those, or remove it"
            raise InvalidInput(reason=reason)
        with torch.no_grad():
            for weight, value in zip(weights, state["weights"], strict=True):
                weight.copy_(value)
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        torch.cuda.set_rng_state_all([each.cpu() for each in state["random.cuda"]])
        losses: list[float] = state["losses"]
        _log.info("going on after step %d", len(losses))
        return losses

    def write(self, weights: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer, losses: Sequence[float]) -> None:
        """Puts the state in the file, whole or not at all."""
        state = {
            "identity": self._identity,
            "weights": [weight.detach() for weight in weights],
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random.cuda": torch.cuda.get_rng_state_all(),
            "losses": list(losses),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        torch.save(state, beside)
        beside.replace(self.path)
