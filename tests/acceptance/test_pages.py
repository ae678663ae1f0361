"""The pages of the doors, run as a reader would: each command and each program, before the trip team as it ships."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.killable import Killable, killable
from harness.local_team import LocalTeam
from harness.node import said
from harness.pages import Command, alike, commands, examples, printed

OPS = Path(__file__).parents[2] / "ops"
HTTP, AGENTS = OPS / "http.md", OPS / "agents.md"
LIMIT_S = 120.0
PROGRAM = Path(sys.executable).with_name("metier")


@pytest.fixture
async def door(trip_team: LocalTeam) -> AsyncIterator[Killable]:
    async with killable("--directory", str(trip_team.directory)) as running:
        yield running


@pytest.fixture
async def agents(trip_team: LocalTeam) -> AsyncIterator[None]:
    """`metier agents` beside the team."""
    command = [str(PROGRAM), "agents", "--directory", str(trip_team.directory)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr
    async with asyncio.timeout(LIMIT_S):
        assert b"Ready" in await process.stderr.readline()
    yield
    process.terminate()
    await process.wait()


def here(text: str, door: Killable, team: LocalTeam) -> str:
    """A page's words with the addresses of this machine."""
    text = re.sub(r"(localhost|127\.0\.0\.1):80[89]0", f"127.0.0.1:{door.port}", text)
    return text.replace("/path/to/.metier", str(team.directory)).replace('command="metier"', f'command="{PROGRAM}"')


async def run(command: str) -> str:
    """What a command of a terminal prints."""
    code, out = await said(["bash", "-c", command], LIMIT_S, {})
    assert 0 == code, out
    return out.replace("\r\n", "\n").strip()


def ids(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\b[0-9a-f]{32}\b", text)))


def asked(page: Path) -> list[Command]:
    """The commands that ask a door; those that start one are this file's fixtures, or have a test of their own."""
    return [one for one in commands(page) if one.line.startswith("curl") and "Bearer" not in one.line]


@pytest.mark.parametrize("page", [HTTP, AGENTS], ids=lambda page: page.name)
async def test_every_request_of_a_page_is_answered_as_it_says(page: Path, door: Killable, trip_team: LocalTeam) -> None:
    known: dict[str, str] = {}
    for command in asked(page):
        line = here(command.line, door, trip_team)
        for there, id_ in known.items():
            line = line.replace(there, id_)
        answered = await run(line)
        known |= dict(zip(ids(command.printed), ids(answered), strict=False))
        expected = here(command.printed, door, trip_team)
        assert alike(expected, answered), f"{line}\n{answered}\nand not\n{expected}"


@pytest.mark.parametrize(
    ("page", "name"), [(HTTP, "model.py"), (AGENTS, "mcp_ask.py"), (AGENTS, "a2a_ask.py"), (AGENTS, "prompt.py")]
)
async def test_every_program_of_a_page_prints_what_it_says(
    page: Path, name: str, door: Killable, agents: None, trip_team: LocalTeam
) -> None:
    program = here(examples(page)[name], door, trip_team)
    code, out = await said([sys.executable, "-c", program, trip_team.ready().nats_url], LIMIT_S, {})

    assert 0 == code, out
    assert alike(printed(page, name), out), out


def test_every_program_of_the_pages_is_run_here() -> None:
    assert {"model.py"} == set(examples(HTTP))
    assert {"mcp_ask.py", "a2a_ask.py", "prompt.py"} == set(examples(AGENTS))


async def test_a_key_is_made_stored_and_opens_the_door(trip_team: LocalTeam, tmp_path: Path) -> None:
    make, _, use = [one for one in commands(HTTP) if "key" in one.line or "Bearer" in one.line]
    answered = await run(make.line.replace("metier", str(PROGRAM), 1))
    key, line = (row.partition(":")[2].strip() for row in answered.splitlines())
    keys = tmp_path / "keys.txt"
    keys.write_text(line)
    async with killable("--directory", str(trip_team.directory), "--keys", str(keys)) as locked:
        curl = here(use.line, locked, trip_team)
        opened = await run(re.sub(r"metier__\S+…", key, curl))
        shut = await run(re.sub(r"metier__\S+…", "metier_none", curl))

    assert [row.partition(":")[0] for row in make.printed.splitlines()] == [
        row.partition(":")[0] for row in answered.splitlines()
    ]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}  acme  until=\d{4}-\d\d-\d\d", line)
    assert opened.startswith('{"object":"list"')
    assert '"status":401' in shut
