"""The models that the trip team ships, on requests that were never learned from: as good as they are said to be.

`ops/evaluation.md` has the figures. Each bound is the lower end of the interval on the first sixty pairs.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from metier.actors.engines.base import complete
from metier.actors.engines.encoder import EncoderSettings, RouterEncoder
from metier.actors.learning import trained
from metier.actors.learning.evaluation.report import TRAINED, Report
from metier.actors.prompts import call_prompt, parse_call
from metier.actors.tools.base import Request
from metier.actors.tools.schema import Described
from metier.cluster import cli, teams

GENERAL = Path(teams.__path__[0]) / "general-tools"
INTENTS = Path(teams.__path__[0]) / "intents"
TEXT = {"type": "string"}
FERRIES = [
    Described(
        "FindFerry",
        {
            "properties": {"port": TEXT, "day": TEXT, "cabin": {"enum": ["Inside", "Outside"]}},
            "required": ["port", "day"],
        },
        "Find a ferry that leaves from a port",
    ),
    Described(
        "CancelFerry", {"properties": {"booking": TEXT}, "required": ["booking"]}, "Cancel a ferry that was booked"
    ),
]


def measured(tmp_path: Path, *arguments: str) -> dict[tuple[str, str], float]:
    """What `metier eval` finds of the trained models, by set and measure."""
    out = tmp_path / "report.json"
    assert 0 == cli.run(["eval", *arguments, "--out", str(out)])
    report = msgspec.json.decode(out.read_bytes(), type=Report)
    return {(row.data, row.measure): row.figure.value for row in report.rows if row.arm == TRAINED}


def test_the_router_plans_as_well_as_it_is_said_to(tmp_path: Path) -> None:
    found = measured(tmp_path, "router", "--sample", "60")
    for language in ("en", "fr"):
        assert found[f"by hand, {language}", "set F1"] >= 0.92
        assert found[f"by hand, {language}", "whole set exact"] >= 0.78
        assert found[f"by hand, {language}", "private recall"] >= 0.9
    assert found["by hand, fr", "same plan as in English"] >= 0.75


def test_the_specialists_call_as_well_as_it_is_said(tmp_path: Path) -> None:
    found = measured(tmp_path, "specialist", "--sample", "60", "--quick")
    for language in ("en", "fr"):
        assert found[f"by hand, {language}", "call exact"] >= 0.78
        assert found[f"by hand, {language}", "slot F1"] >= 0.92


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("how much money is in my checking account", "balance"),
        ("wake me up at seven tomorrow", "alarm"),
        ("how many legs does an octopus have", None),
    ],
)
async def test_the_heads_tell_150_intents_and_what_has_none(minilm: Path, text: str, intent: str | None) -> None:
    encoder = RouterEncoder(EncoderSettings(path=str(minilm), heads=str(INTENTS), name="intents"))
    await encoder.load()
    routing = await encoder.route(text)
    await encoder.close()
    known = max(routing.specialists, key=routing.specialists.__getitem__)
    assert intent == (known if routing.open < 0.5 else None)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (
            "Find me a ferry from Calais on March 3rd",
            ("FindFerry", {"port": "Calais", "day": "March 3rd", "cabin": None}),
        ),
        ("Play some jazz in the kitchen", None),
    ],
)
async def test_the_general_pointer_calls_a_tool_it_never_saw_or_refuses(
    e5: Path, text: str, call: tuple[str, dict[str, str | None]] | None
) -> None:
    request = Request(text=text, today=dt.date(2026, 1, 1))
    offers = [tool.offer(request) for tool in FERRIES]
    engine = trained.engine(GENERAL, e5)
    await engine.load()
    try:
        completion = await complete(engine, call_prompt(offers, request, GENERAL.name, may_refuse=True))
    finally:
        await engine.close()

    assert call == parse_call(offers, completion.text, may_refuse=True)
