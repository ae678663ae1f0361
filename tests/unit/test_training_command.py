"""What the commands that train have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from metier.actors.learning import command
from metier.actors.learning.router import Recipe
from metier.topics.errors import InvalidInput


def test_the_command_that_does_the_same_again_names_no_place_of_this_machine(tmp_path: Path) -> None:
    parser = command.parser("", "some-model")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--start", type=Path)
    given = [
        "--base-directory",
        str(tmp_path),
        "--out",
        str(tmp_path),
        "--data",
        str(tmp_path),
        "--start",
        str(tmp_path),
        "--recipe",
        '{"seed":7}',
    ]
    told = command.again("router", command.begun(parser, given))
    assert "metier train router --base some-model --recipe '{\"seed\":7}' --start EARLIER --data DIR --out OUT" == told


def test_a_recipe_with_what_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--recipe"):
        command.recipe('{"epochs":"two"}', Recipe)


def test_a_recipe_says_only_what_differs() -> None:
    assert Recipe(epochs=3) == command.recipe('{"epochs":3}', Recipe)
