"""What the commands that train have in common: their options, and how a run begins."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch

from metier.topics.errors import InvalidInput

from ..engines.sources import find, parse
from . import manifest
from .lessons import Lesson, made_by, of_team
from .manifest import Data

R = TypeVar("R")


def parser(about: str | None, base: str) -> argparse.ArgumentParser:
    """The options of every run."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--base", default=base, help="the model to adapt")
    made.add_argument("--base-directory", type=Path, help="where it lies, if not among the models that were pulled")
    made.add_argument("--out", type=Path, required=True, help="a run that was broken off here goes on")
    made.add_argument("--threads", type=int, default=0, help="of torch; one is best on a busy machine")
    made.add_argument("--device", default="auto", help="cpu or cuda; without it, cuda where there is one")
    made.add_argument("--recipe", default="{}", help="settings that differ from the usual ones, as JSON")
    return made


def learn(
    what: str, about: str | None, base: str, kind: type[Any], run: Callable[..., None], arguments: Sequence[str] | None
) -> None:
    """A run that learns calls, from its command line: `run` gets base, its directory, lessons, folder, recipe, where it
    goes on from, what is said of the lessons, and the command that does it again."""
    made = parser(about, base)
    _lessons(made)
    options = begun(made, arguments)
    chosen = recipe(options.recipe, kind)
    lessons, described = _given(options, chosen)
    told = again(what, options)
    run(options.base, options.base_directory, lessons, options.out, chosen, options.start, described, told)


def _lessons(made: argparse.ArgumentParser) -> None:
    """The options of a run that learns calls."""
    made.add_argument("--team", type=Path, help="the team's folder")
    made.add_argument("--lessons", default="", help='a function (count, seed) as "module:name", instead of sentences')
    made.add_argument("--licence", default="Apache-2.0", help="of what the lessons are made of")
    made.add_argument("--data", type=Path, help="the folder of a public data set that these lessons are made of")
    made.add_argument("--start", type=Path, help="what an earlier run made, to go on with")


def _given(options: Any, recipe: Any) -> tuple[list[Lesson], Data]:
    """The lessons of a run with those options, and what its manifest says of them."""
    if options.lessons:
        made = made_by(options.lessons, recipe.lessons, recipe.seed, options.data, options.team)
    else:
        made = of_team(options.team, recipe.lessons, recipe.seed, recipe.spoken)
    return made, manifest.data(f"lessons of {options.lessons or options.team.name}", made, options.licence)


def begun(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> Any:
    """The options as given, with the base's directory found; progress goes to the log, tensors to the device."""
    options = made.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(options.device)
    options.base_directory = options.base_directory or find(parse(options.base))
    return options


def recipe(text: str, kind: type[R]) -> R:
    """A recipe of its JSON. Raises InvalidInput."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidInput(reason=f"--recipe {text!r}: {error}") from error


def again(what: str, options: Any) -> str:
    """The command that trains the same once more; DIR, EARLIER and OUT stand for folders of whoever does it."""
    said = {name: value for name, value in vars(options).items() if value and name not in _PLACES}
    told = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in sorted(said.items()))
    start = " --start EARLIER" if getattr(options, "start", None) else ""
    data = f" --data {_DATA.get(what, 'DIR')}" if getattr(options, "data", None) else ""
    return f"metier train {what} {told}{start}{data} --out OUT"


#: Options that say where something lies on one machine.
_PLACES = ("base_directory", "data", "device", "out", "start")
_DATA = {"intents": "DIR/routing", "adapter": "DIR/sgd", "pointer": "DIR/sgd"}
