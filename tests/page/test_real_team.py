"""The page before a team on a real Ray, the door one of its applications: a replica is killed and comes back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from harness.local_team import ECHO, LocalTeam, local_team
from harness.nats_server import free_port

from .conftest import ask

#: Serve starts a replica anew within some seconds, on a busy machine later.
BACK_MS = 90_000.0
#: What the page says of it, by whether somebody looked between the two.
GONE, REPLACED = "two is back", "two: a replica went, another is there"
PICTURES = Path(__file__).parents[2] / "build" / "page"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[LocalTeam]:
    """The echo team with an HTTP door."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(ECHO.parent, folder / "team")
    file = folder / "team" / "team.yaml"
    file.write_text(f"{file.read_text()}\ngateway: {{port: {port}}}\n")
    with local_team(folder / "state", file) as running:
        running.ready()
        yield running


async def test_a_replica_of_ray_is_killed_and_the_page_shows_it_go_and_come_back_and_the_answer(
    team: LocalTeam, port: int, page: Page
) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.goto(f"http://127.0.0.1:{port}")
    await expect(page.locator("#team-name")).to_have_text("echo")
    await page.get_by_label("Answer within").fill("120")
    await ask(page, "one two three joiner slow 5")
    two = page.locator(".stations a", has_text="two")
    await expect(page.locator(".stations li")).to_have_count(4)
    await expect(two).to_contain_text("working")
    await expect(page.locator(".stations a", has_text="joiner")).to_contain_text("waiting")

    replica = team.replica("two")
    assert replica
    replica.kill()

    await expect(two).to_contain_text(re.compile("lost its replica|taken up again"), timeout=BACK_MS)
    await page.screenshot(path=PICTURES / "killed.png")
    await expect(two).to_contain_text(re.compile(r"done at attempt \d"), timeout=BACK_MS)
    await expect(page.locator(".status")).to_contain_text("Answered", timeout=BACK_MS)
    await expect(page.locator(".answer")).to_contain_text("two=one two three joiner slow 5")
    await expect(page.locator(".waterfall")).to_contain_text("invoke_agent joiner")
    await page.get_by_role("link", name="Team", exact=True).click()
    await expect(page.locator("#changes")).to_contain_text(re.compile(f"{GONE}|{REPLACED}"))
    await page.screenshot(path=PICTURES / "back.png")
