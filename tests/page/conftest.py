"""A house with its door and its page, and a real browser in front of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from harness.house import SUBJECTS, House, open_house
from harness.nats_server import NatsServer, nats_server
from metier.actors.loop import Loop
from metier.cluster import telemetry
from metier.cluster.gateway import server
from metier.cluster.gateway.settings import Gateway
from metier.cluster.team import Telemetry, read
from metier.topics import jetstream

#: Nothing but the page asks for anything.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = "no Chromium: install it (on Debian and Ubuntu: apt-get install chromium), or name it in $CHROMIUM"
SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""
LIMIT_MS = 10_000.0

TEAM = """
name: house
models: {m: {engine: "nowhere:Engine"}}
router: {model: m, heads: none}
specialists:
  red: {about: Paints it red., model: m, tools: ["nowhere:red"]}
  green: {about: Paints it green., model: m, tools: ["nowhere:green"]}
  blue: {about: Paints it blue., model: m, tools: ["nowhere:blue"]}
  mixer: {about: Mixes what the others painted., model: m, tools: ["nowhere:mixer"], needs: [red, green, blue]}
OTHERS
escalation:
  large: {model: m, stand_in: true, price_per_million_prompt_tokens: 2.5, price_per_million_output_tokens: 10}
"""


class Stage:
    """What a test needs: the team, where its page is, and the loops of those actors that it starts and stops itself."""

    def __init__(self, house: House, address: str) -> None:
        self.house = house
        self.address = address
        self._loops: dict[str, asyncio.Task[None]] = {}

    def start(self, actor: str) -> None:
        """One more replica of an actor, as a new process would be."""
        loop = Loop(self.house.loops[actor].actor, self.house.bus, SUBJECTS)
        self._loops[actor] = asyncio.create_task(loop.run())

    async def kill(self, actor: str) -> None:
        """Ends the replica at once: what it held stays unsettled."""
        self._loops[actor].cancel()
        await asyncio.gather(self._loops.pop(actor), return_exceptions=True)

    async def close(self) -> None:
        for actor in list(self._loops):
            await self.kill(actor)


async def ask(page: Page, text: str) -> None:
    """Asks in the box; returns when the task is shown."""
    await page.get_by_role("textbox", name="Ask the team").fill(text)
    await page.get_by_role("button", name="Ask", exact=True).click()
    await expect(page.locator(".question")).to_have_text(text)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.fail(MISSING)
    return found


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as running:
        yield running


@asynccontextmanager
async def staged(
    nats: NatsServer, directory: Path, page: Page, others: int = 0, keys: str | None = None, **house: Any
) -> AsyncIterator[Stage]:
    """A house, its door on a free port, and its spans kept; options as for `open_house`. The tab leaves first."""
    file, state = directory / "team.yaml", directory / "state"
    more = "".join(f'  other{n}: {{about: Waits., model: m, tools: ["nowhere:x"]}}\n' for n in range(others))
    file.write_text(TEAM.replace("OTHERS\n", more))
    settings = Gateway(port=0, keys=keys)
    telemetry.setup(service="house", telemetry=Telemetry(), directory=str(state))
    listener = server.listener(settings)
    try:
        async with (
            jetstream.connect(nats.url, name="house", subjects=SUBJECTS) as bus,
            open_house(bus, **house) as open_,
        ):
            running = server.Server(server.door(nats.url, SUBJECTS, settings, read(file), state / telemetry.TRACES))
            serving = asyncio.create_task(running.serve([listener]))
            stage = Stage(open_, f"http://127.0.0.1:{listener.getsockname()[1]}")
            try:
                yield stage
            finally:
                await page.goto("about:blank")
                running.close()
                await serving
                await stage.close()
    finally:
        telemetry.shutdown()


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield launched
        await launched.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab; whatever its console has to complain of fails the test."""
    tab = await browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(LIMIT_MS)
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    tab.on("console", hear)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    await tab.add_init_script(SHIFTS)
    yield tab
    await tab.close()
    assert [] == complaints
