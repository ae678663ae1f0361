"""From how sure a model seems to how often it is right: a rising line, fitted on what was held out.

An adapter that was calibrated has a `calibration.json` beside its weights.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from pathlib import Path

import msgspec

from metier.topics.errors import EngineFailed

NAME = "calibration.json"

#: Nearer to 0 or 1 no chance is shifted.
_LEAST = 0.001


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Points of the line, by rising joint probability of the tokens that the grammar left free."""

    joint: list[float]
    #: Of being right, at each of them.
    chance: list[float]
    #: What it was fitted on, and how many answers.
    data: str
    answers: int
    #: Added to the log odds of being right, by tool: some are easier than others. Only pointers heed them.
    shifts: dict[str, float] = {}

    def of(self, joint: float, tool: str = "") -> float:
        """The chance that an answer is right; between two points on the line that joins them."""
        chance = self._on_line(joint)
        return shifted(chance, self.shifts[tool]) if tool in self.shifts else chance

    def _on_line(self, joint: float) -> float:
        at = bisect_right(self.joint, joint)
        if at == 0:
            return self.chance[0]
        if at == len(self.joint):
            return self.chance[-1]
        low, high = self.joint[at - 1], self.joint[at]
        share = (joint - low) / (high - low) if high > low else 1.0
        return self.chance[at - 1] + share * (self.chance[at] - self.chance[at - 1])


def shifted(chance: float, shift: float) -> float:
    """A chance whose log odds are shifted."""
    chance = min(max(chance, _LEAST), 1 - _LEAST)
    return 1 / (1 + (1 - chance) / chance * math.exp(-shift))


def read(adapter: Path, model: str) -> Calibration | None:
    """That of an adapter's folder, if it has one. Raises EngineFailed, with the `model` as it is shown."""
    path = adapter / NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise EngineFailed(model=model, reason=f"{path} cannot be read: {error}") from error
    if not found.joint or len(found.joint) != len(found.chance) or found.joint != sorted(found.joint):
        raise EngineFailed(model=model, reason=f"{path} is no rising line")
    return found
