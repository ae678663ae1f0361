"""The models that the trip team ships, on requests that were never learned from: as good as they are said to be.

`ops/evaluation.md` has the figures. Each bound is the lower end of the interval on the first sixty pairs.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from metier.actors.engines.base import complete
from metier.actors.engines.transformers import TransformersEngine, TransformersSettings
from metier.actors.learning.evaluation.report import TRAINED, Report
from metier.actors.prompts import call_prompt, parse_call
from metier.actors.tools.base import Request
from metier.actors.tools.schema import Described
from metier.cluster import cli, teams

GENERAL = Path(teams.__path__[0]) / "general-tools"
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


def test_the_router_plans_as_well_as_it_is_said_to(tmp_path: Path) -> None:
    out = tmp_path / "report.json"

    assert 0 == cli.run(["eval", "router", "--sample", "60", "--out", str(out)])

    report = msgspec.json.decode(out.read_bytes(), type=Report)
    found = {(row.data, row.measure): row.figure.value for row in report.rows if row.arm == TRAINED}
    assert found["by hand, en", "set F1"] >= 0.89
    assert found["by hand, en", "whole set exact"] >= 0.68
    assert found["by hand, fr", "set F1"] >= 0.84
    assert found["by hand, fr", "whole set exact"] >= 0.53


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (
            "Find me a ferry from Calais on March 3rd",
            ("FindFerry", {"port": "Calais", "day": "March 3rd", "cabin": None}),
        ),
        ("What is the capital of Peru?", None),
    ],
)
async def test_the_general_adapter_calls_a_tool_it_never_saw_or_refuses(
    slm: Path, text: str, call: tuple[str, dict[str, str | None]] | None
) -> None:
    request = Request(text=text, today=dt.date(2026, 1, 1))
    offers = [tool.offer(request) for tool in FERRIES]
    engine = TransformersEngine(TransformersSettings(path=str(slm), name="SmolLM2", adapters={"general": str(GENERAL)}))
    await engine.load()
    try:
        completion = await complete(engine, call_prompt(offers, request, "general", may_refuse=True))
    finally:
        await engine.close()

    assert call == parse_call(offers, completion.text, may_refuse=True)
