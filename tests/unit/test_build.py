"""What a team file becomes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.local_team import ECHO
from metier.actors.expert import Expert
from metier.actors.specialist import Specialist
from metier.cluster import build, models, names, team
from metier.cluster.state import State
from metier.topics.errors import AlreadyUp, InvalidTeam, NotUp
from metier.topics.memory import MemoryBus
from metier.topics.subjects import Subjects


@pytest.fixture
def echo() -> team.Team:
    return team.read(ECHO)


def test_every_actor_has_a_consumer_of_its_name_on_its_own_stream(echo: team.Team) -> None:
    expected = {
        "router": ("echo_TASKS", "echo.task.*"),
        "one": ("echo_SUBTASKS", "echo.subtask.one"),
        "two": ("echo_SUBTASKS", "echo.subtask.two"),
        "three": ("echo_SUBTASKS", "echo.subtask.three"),
        "joiner": ("echo_SUBTASKS", "echo.subtask.joiner"),
        "large": ("echo_ESCALATIONS", "echo.escalation.large"),
        "aggregator": ("echo_RESULTS", "echo.result.>"),
    }

    consumers = {name: build.consumer(echo, name) for name in build.actors(echo)}

    assert expected == {name: (consumer.stream, consumer.subject) for name, consumer in consumers.items()}
    assert all(name == consumer.name for name, consumer in consumers.items())


def test_the_roster_says_who_waits_for_whom_and_who_helps(echo: team.Team) -> None:
    roster = build.roster(echo)

    assert ("one", "two", "three") == roster.needs["joiner"]
    assert {"router", *echo.specialists} == set(roster.gives_up_to)
    assert roster.tiers["large"].stand_in


def test_only_a_shared_model_has_a_deployment(echo: team.Team) -> None:
    assert ("echo",) == models.shared(echo)


async def test_all_actors_are_built_without_a_cluster(echo: team.Team) -> None:
    bus = MemoryBus(Subjects(echo.root))

    actors = [await build.actor(echo, name, bus) for name in build.actors(echo)]

    assert list(build.actors(echo)) == [actor.name for actor in actors]
    assert 4 == sum(isinstance(actor, Specialist) for actor in actors)
    assert 1 == sum(isinstance(actor, Expert) for actor in actors)
    await bus.close()


def test_one_actor_s_section_changes_alone(echo: team.Team) -> None:
    section = msgspec.to_builtins(echo.specialists["one"]) | {"confidence": 0.7}

    changed = build.with_section(echo, "one", section)

    assert 0.7 == changed.specialists["one"].confidence
    assert echo.specialists["two"] == changed.specialists["two"]


def test_an_unknown_option_of_an_engine_names_its_place(echo: team.Team) -> None:
    model = msgspec.structs.replace(echo.models["echo"], options={"colour": "blue"})
    changed = msgspec.structs.replace(echo, models={**echo.models, "echo": model})

    with pytest.raises(InvalidTeam, match=r"models\.echo\.options: got an unexpected keyword argument 'colour'"):
        models.engine(changed, "echo")


def test_a_module_that_is_not_there_is_named(echo: team.Team) -> None:
    with pytest.raises(InvalidTeam, match="nowhere_at_all:tool: there is no module nowhere_at_all"):
        names.load(echo, "nowhere_at_all:tool")


def test_building_loads_neither_ray_nor_torch() -> None:
    script = "import sys, metier.cluster.build; print({'ray', 'torch'} & set(sys.modules))"

    assert "set()\n" == subprocess.check_output([sys.executable, "-c", script], text=True)


def test_a_state_directory_has_one_owner(tmp_path: Path) -> None:
    with State(tmp_path).claim(), pytest.raises(AlreadyUp), State(tmp_path).claim():
        pass


def test_what_a_killed_team_left_behind_is_no_team(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text(
        '{"pid":1,"nats_url":"","nats_pid":1,"team":"","root":"","started_at":"2026-01-01T00:00:00Z"}'
    )

    with pytest.raises(NotUp):
        State(tmp_path).read()

    assert not (tmp_path / "up.json").exists()


@pytest.mark.parametrize(
    ("said", "cores"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), (None, 4)]
)
def test_a_model_takes_no_more_threads_than_its_container_has_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, cores: int
) -> None:
    if said:
        (tmp_path / "cpu.max").write_text(f"{said}\n")
    monkeypatch.setattr(models, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})

    assert cores == models.cores()


def test_an_actor_works_on_as_much_at_once_as_its_model_batches_unless_it_says_otherwise(echo: team.Team) -> None:
    assert (8, 64) == (build.concurrency(echo, "one"), build.concurrency(echo, "router"))
    models = {**echo.models, "echo": msgspec.structs.replace(echo.models["echo"], batch=3)}
    specialists = {**echo.specialists, "two": msgspec.structs.replace(echo.specialists["two"], concurrency=5)}
    changed = msgspec.structs.replace(echo, models=models, specialists=specialists)
    expected = {"one": 3, "two": 5, "three": 8, "large": 3}
    assert expected == {name: build.concurrency(changed, name) for name in expected}
