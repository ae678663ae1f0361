"""`metier train`: making the small models of a team."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from metier.actors.tools.base import Tool

from .. import build
from ..team import read

#: What can be trained, and the module that does it.
WHAT = ("router", "intents", "adapter", "pointer", "calibration")


def train(options: Namespace) -> int:
    """Trains the router of a team, heads for intents, an adapter, a pointer, or what confidence means."""
    main = importlib.import_module(f"metier.actors.learning.{options.what}").main
    if options.what == "calibration":
        main(options.rest, _tools)
    else:
        main(options.rest)
    return 0


def _tools(folder: Path, adapter: Path) -> Mapping[str, Sequence[Tool]]:
    """The tools of the specialists that use an adapter, in the team of a folder. Raises InvalidTeam."""
    team = read(folder / "team.yaml")
    return {name: build.tools(team, name) for name, each in team.specialists.items() if each.adapter == adapter.name}
