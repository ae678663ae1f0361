"""A team in its real processes: it answers, it refuses clearly, and it goes without a trace."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path

import pytest

from harness.local_team import ECHO, LocalTeam, answers, local_team, until
from metier.cluster import build, local, team
from metier.topics.client import Client
from metier.topics.codec import decode, encode
from metier.topics.errors import AlreadyUp, ModelMissing, PortInUse
from metier.topics.messages import Control, Presence, State


async def test_three_specialists_and_a_joiner_give_one_answer(client: Client) -> None:
    before = await answers(client, 0)

    answer = await client.ask("one two three joiner")

    assert State.OK is answer.status
    said = "one two three joiner"
    assert f"one={said} three={said} two={said}" == answer.text
    assert before + 1 == await answers(client, before + 1)


async def test_an_open_request_is_answered_by_the_stand_in_and_says_so(client: Client) -> None:
    answer = await client.ask("open question")

    assert "open question" == answer.text
    assert ("No large model is configured: echo, the small base model, answered in its place.",) == answer.notes


async def test_every_actor_says_its_status(client: Client) -> None:
    control = encode(Control(verb="status"))

    replies = await client.bus.request(client.subjects.control("status"), control, 0.5)

    presences = [decode(reply.payload, Presence) for reply in replies]
    assert set(build.actors(team.read(ECHO))) == {presence.actor for presence in presences}
    assert len(presences) == len({presence.pid for presence in presences})


async def test_an_actor_with_a_shared_model_holds_no_torch(client: Client, echo_team: LocalTeam) -> None:
    process = echo_team.replica("one")

    assert process is not None
    assert not [part for part in process.memory_maps() if "torch" in part.path]


async def test_a_second_team_in_the_same_directory_is_refused(echo_team: LocalTeam) -> None:
    with pytest.raises(AlreadyUp) as refused:
        async with local.up(team.read(ECHO), file=ECHO, directory=echo_team.directory, port=0):
            pass

    directory, pid = echo_team.state.path, echo_team.process.pid
    assert f"A team is already up in {directory} (process {pid}): run `metier down` first." == str(refused.value)


async def test_a_busy_port_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(PortInUse) as refused:
            async with local.up(team.read(ECHO), file=ECHO, directory=tmp_path / "state", port=port):
                pass

    assert f"Port {port} is in use: stop what listens there, or choose another with --port." == str(refused.value)


async def test_a_missing_model_is_said_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "team.yaml"
    shutil.copy(ECHO.parent / "echo_team.py", tmp_path)
    file.write_text(ECHO.read_text().replace('engine: "echo_team:WordEncoder"', "engine: encoder, source: ./nowhere"))

    with pytest.raises(ModelMissing):
        async with local.up(team.read(file), file=file, directory=tmp_path / "state", port=0):
            pass

    assert not (tmp_path / "state").exists()


def test_ctrl_c_while_it_starts_leaves_nothing_running(tmp_path: Path) -> None:
    with local_team(tmp_path / "state") as starting:
        until(lambda: any("raylet" in p.name() for p in starting.processes()), 60, "Ray starts")

        assert set() == starting.stop(signal.SIGINT)
    assert 130 == starting.process.returncode
