"""The page in every state it may be in, light and dark, wide and narrow: nothing for axe to find, nothing cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from harness.house import SUBJECTS
from harness.instant import InstantEngine
from harness.nats_server import NatsServer
from metier.cluster.gateway import keys
from metier.topics.bus import Publication

from .conftest import LIMIT_MS, Stage, ask, staged

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}

Show = Callable[[Page, Stage], Awaitable[None]]


async def violations(page: Page) -> list[str]:
    """What axe finds, with the place."""
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate("axe.run()")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


async def overflow(page: Page) -> list[str]:
    """What sticks out of the window sideways."""
    beyond: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"{beyond} px wider than the window"] if beyond > 0 else []


async def looked_at(page: Page) -> dict[str, list[str]]:
    """What is wrong with a state in each of its looks."""
    found = {}
    for theme in ("light", "dark"):
        await page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        for name, size in (("wide", WIDE), ("narrow", NARROW)):
            await page.set_viewport_size(size)  # type: ignore[arg-type]
            found[f"{theme}, {name}"] = await violations(page) + await overflow(page)
    return {look: faults for look, faults in found.items() if faults}


# ── States ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def nothing_asked(page: Page, stage: Stage) -> None:
    await page.goto(stage.address)
    await expect(page.locator("#trades dt")).to_have_count(4)


async def answered(page: Page, stage: Stage) -> None:
    await page.goto(stage.address)
    await ask(page, "red green mixer at 10:45")
    await expect(page.locator(".waterfall")).to_be_visible()
    await page.locator(".finding summary").first.click()
    await page.locator(".finding .data summary").first.click()


async def written(page: Page, stage: Stage) -> None:
    await page.goto(stage.address)
    await ask(page, "How old is it?")
    await expect(page.locator(".draft")).to_contain_text("The palace")


async def waiting_for_nobody(page: Page, stage: Stage) -> None:
    await page.goto(stage.address)
    await ask(page, "blue")
    await expect(page.locator(".stations a")).to_contain_text("no replica")


async def cancelled(page: Page, stage: Stage) -> None:
    await waiting_for_nobody(page, stage)
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator(".status")).to_contain_text("Cancelled")


async def asked_back(page: Page, stage: Stage) -> None:
    stage.house.tools["green"].asks = "emerald"
    await page.goto(stage.address)
    await ask(page, "green")
    await expect(page.get_by_label("Say: emerald")).to_be_visible()
    stage.house.tools["green"].asks = ""


async def out_of_time(page: Page, stage: Stage) -> None:
    await page.goto(stage.address)
    await page.get_by_label("Answer within").fill("1")
    await ask(page, "red blue")
    await expect(page.locator(".status")).to_contain_text("Out of time")


async def unknown(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.address}/#/task/nobody-knows")
    await expect(page.locator(".answer.error")).to_contain_text("No trace of task nobody-knows")


async def team(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.address}/#/team")
    await expect(page.locator("#actors tr")).to_have_count(7)
    await page.get_by_role("button", name="Waiting").click()
    await page.get_by_role("link", name="blue", exact=True).click()
    await expect(page.locator("#chart-title")).to_contain_text("blue: ")


async def dead(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.address}/#/dead")
    await page.locator("#graves summary").first.click()


STATES: dict[str, Show] = {
    "nothing asked": nothing_asked,
    "answered": answered,
    "written": written,
    "waiting for nobody": waiting_for_nobody,
    "cancelled": cancelled,
    "asked back": asked_back,
    "out of time": out_of_time,
    "unknown": unknown,
    "team": team,
    "dead": dead,
}


async def test_axe_finds_nothing_and_nothing_sticks_out_in_any_state(
    nats: NatsServer, tmp_path: Path, browser: Browser
) -> None:
    page = await browser.new_page(bypass_csp=True)  # axe marks elements with styles of its own
    page.set_default_timeout(LIMIT_MS)
    gate = asyncio.Event()
    large = InstantEngine("The palace was built for a king who liked gardens.", gate=gate)
    async with staged(nats, tmp_path, page, asleep=("blue",), large=large) as stage:
        await stage.house.bus.publish(Publication(SUBJECTS.task("default", "interactive"), b"{"))
        found = {}
        for name, show in STATES.items():
            await page.set_viewport_size(WIDE)  # type: ignore[arg-type]
            await show(page, stage)
            found[name] = await looked_at(page)
        gate.set()

    assert {} == {name: faults for name, faults in found.items() if faults}


async def test_axe_finds_nothing_where_the_door_asks_for_a_key_and_where_it_is_away(
    nats: NatsServer, tmp_path: Path, browser: Browser
) -> None:
    page = await browser.new_page(bypass_csp=True)
    page.set_default_timeout(LIMIT_MS)
    key, line = keys.new("acme")
    file = tmp_path / "keys"
    file.write_text(line)
    async with staged(nats, tmp_path, page, keys=str(file)) as stage:
        await page.goto(stage.address)
        await expect(page.get_by_role("textbox", name="API key")).to_be_focused()
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("#key-error")).to_contain_text("does not know that key")
        locked = await looked_at(page)
        await page.keyboard.type(key)
        await page.keyboard.press("Enter")
        await expect(page.locator("#team-name")).to_have_text("house")
        nats.stop()
        await expect(page.locator("#away")).not_to_be_empty(timeout=3 * LIMIT_MS)
        away = await looked_at(page)
        nats.start()
        await expect(page.locator("#away")).to_be_empty(timeout=3 * LIMIT_MS)

    assert ({}, {}) == (locked, away)
