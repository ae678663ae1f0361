"""What a team file names in Python: "package.module:name"."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from metier.topics.errors import InvalidTeam

from .team import Team


def load(team: Team, path: str) -> Any:
    """What stands at "package.module:name"; modules beside the team file are found too. Raises InvalidTeam."""
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise InvalidTeam(path=path, reason='write it as "package.module:name"')
    if team.directory not in sys.path:
        # Last: a file of the team never stands before an installed module.
        sys.path.append(team.directory)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InvalidTeam(path=path, reason=f"there is no module {error.name}") from error
    if not hasattr(module, name):
        raise InvalidTeam(path=path, reason=f"module {module_name} has no {name}")
    return getattr(module, name)


def construct(place: str, make: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """An object of a class the file names. Raises InvalidTeam for options it does not take."""
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise InvalidTeam(path=place, reason=error) from error
    return make(**options)
