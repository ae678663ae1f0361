"""Takes the pictures of ops/page.md: `python tests/page/pictures.py [FOLDER]`, on a quiet machine with Chromium.

The trip team is started with a door; what is seen is what it did.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import httpx2 as httpx
from playwright.async_api import Page, async_playwright, expect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness.local_team import LocalTeam, local_team  # noqa: E402
from harness.nats_server import free_port  # noqa: E402
from metier.topics.bus import Publication  # noqa: E402
from metier.topics.client import connect  # noqa: E402

TRIP = Path(str(files("metier.cluster.teams.trip")))
WEEKEND = "Plan a weekend in Paris, leaving from London on Friday"
LIMIT_MS = 120_000.0
#: What the team is asked while it is looked at, so many at a time.
BUSY = (
    "Find me a hotel in Lyon for two nights from next Friday",
    "What is the weather in Nice this weekend?",
    "Find me a flight from Lyon to Rome on Friday",
    "Where can I eat in Paris tonight?",
    "What is there to see in Rome?",
)
AT_A_TIME = 24


@contextmanager
def trip(port: int) -> Iterator[LocalTeam]:
    """The trip team with a door."""
    with tempfile.TemporaryDirectory(prefix="metier-pictures-") as folder:
        here = Path(folder) / "trip"
        shutil.copytree(TRIP, here)
        file = here / "team.yaml"
        file.write_text(f"{file.read_text()}\ngateway: {{port: {port}}}\n")
        with local_team(Path(folder) / "state", file) as team:
            team.ready()
            yield team


async def ask(page: Page, text: str, within_s: int = 120) -> None:
    """Asks in the box."""
    await page.get_by_label("Answer within").fill(str(within_s))
    await page.get_by_role("textbox", name="Ask the team").fill(text)
    await page.get_by_role("button", name="Ask", exact=True).click()
    await expect(page.locator(".question")).to_have_text(text)


async def keep_busy(address: str) -> None:
    """Asks on until it is cancelled."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:

        async def one(number: int) -> None:
            while True:
                text = BUSY[number % len(BUSY)]
                await http.post("/v1/tasks?wait_s=30", json={"text": text, "class": "batch"})
                number += 1

        await asyncio.gather(*(one(number) for number in range(AT_A_TIME)))


async def take(folder: Path, page: Page, team: LocalTeam, address: str) -> None:
    """All of them, one after the other."""
    await page.goto(address)
    await ask(page, WEEKEND)
    await expect(page.locator(".waterfall")).to_be_visible()
    await page.set_viewport_size({"width": 1280, "height": 1900})
    await page.locator(".answer a.sourced", has_text="€").first.click()
    await page.mouse.move(0, 0)
    await page.screenshot(path=folder / "answer.png", clip={"x": 0, "y": 0, "width": 1280, "height": 1330})
    await page.set_viewport_size({"width": 1280, "height": 860})

    await page.goto(f"{address}/#/team")
    busy = asyncio.create_task(keep_busy(address))
    await page.wait_for_timeout(40_000)
    await page.screenshot(path=folder / "team.png")
    await turn(page, "dark")
    await page.screenshot(path=folder / "team-dark.png")
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)
    await turn(page, "light")

    await page.goto(address)
    await ask(page, "Tell me about the Baroque in Paris")
    await expect(page.locator(".draft")).to_have_text(re.compile(r".{250}", re.DOTALL))
    await page.screenshot(path=folder / "words.png")
    await killed(folder, page, team, address)
    await dead(folder, page, team, address)


async def killed(folder: Path, page: Page, team: LocalTeam, address: str) -> None:
    """The secretary's replica ends while it writes, and is back."""
    await page.goto(address)
    await ask(page, WEEKEND)
    station = page.locator(".stations a", has_text="secretary")
    await expect(station).to_contain_text("working")
    replica = team.replica("secretary")
    assert replica
    replica.kill()
    await expect(station).to_contain_text("lost its replica")
    await page.screenshot(path=folder / "killed.png")
    await expect(station).to_contain_text("done at attempt 2")
    await page.screenshot(path=folder / "recovered.png")
    await page.get_by_role("link", name="Team", exact=True).click()
    await expect(page.locator("#changes")).to_contain_text("secretary is back")
    await page.screenshot(path=folder / "back.png")


async def dead(folder: Path, page: Page, team: LocalTeam, address: str) -> None:
    """Two messages that nobody can read, one of them open."""
    async with connect(team.ready().nats_url) as client:
        subject = client.subjects.task("default", "interactive")
        for payload in (b'{"text": "Find me a hotel in Lyon", "nights": 2}', b'{"type": "task/2", "text": "Rome"}'):
            await client.bus.publish(Publication(subject, payload))
    await page.goto(f"{address}/#/dead")
    await expect(page.locator("#graves > li")).to_have_count(2)
    await page.locator("#graves summary").first.click()
    await page.screenshot(path=folder / "dead.png")


async def turn(page: Page, theme: str) -> None:
    """Light or dark."""
    await page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    await page.wait_for_timeout(200)


async def main(folder: Path) -> None:
    """The entry point."""
    chromium, port = os.environ.get("CHROMIUM") or shutil.which("chromium"), free_port()
    with trip(port) as team:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = await browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(LIMIT_MS)
            expect.set_options(timeout=LIMIT_MS)
            await take(folder, page, team, f"http://127.0.0.1:{port}")
            await browser.close()


if __name__ == "__main__":
    wanted = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "ops" / "page"
    wanted.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(wanted))
