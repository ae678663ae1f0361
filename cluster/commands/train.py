"""`metier train`: making the small models of a team."""

from __future__ import annotations

import importlib
from argparse import Namespace

#: What can be trained, and the module that does it.
WHAT = ("router", "intents", "adapter", "pointer", "calibration")


def train(options: Namespace) -> int:
    """Trains the router of a team, heads for intents, an adapter, a pointer, or what confidence means."""
    importlib.import_module(f"metier.actors.learning.{options.what}").main(options.rest)
    return 0
