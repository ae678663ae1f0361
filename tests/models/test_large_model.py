"""One section of a team file makes the pooled large model a real endpoint, here an OpenAI-compatible server process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from harness.house import ROSTER, SUBJECTS, open_house
from harness.openai_server import serving
from metier.actors.loop import Loop
from metier.actors.policy import Roster
from metier.cluster import build, team
from metier.topics.memory import MemoryBus
from metier.topics.messages import State

FILE = """
name: asks
models:
  small: {{engine: transformers, source: smollm2-135m-instruct}}
  encoder: {{engine: encoder, source: all-minilm-l6-v2, placement: inside}}
  big:
    engine: openai
    options: {{base_url: "{url}", model: smollm2, api_key_env: METIER_TEST_KEY, local: true}}
router: {{model: encoder}}
specialists:
  red: {{about: Red., model: small, tools: ["m:f"], examples: [Paint it red]}}
escalation:
  large: {{model: big, price_per_million_prompt_tokens: 2.0, price_per_million_output_tokens: 8.0, max_tokens: 12}}
"""


async def test_an_open_question_is_answered_by_the_endpoint_and_priced(
    slm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METIER_TEST_KEY", "secret")
    bus = MemoryBus(SUBJECTS)
    async with serving(slm) as url:
        (tmp_path / "team.yaml").write_text(FILE.format(url=url))
        asks = team.read(tmp_path / "team.yaml")
        async with open_house(bus, roster=_roster(asks), asleep=("large",)) as house:
            large = Loop(await build.actor(asks, "large", bus), bus, SUBJECTS)
            await bus.ensure((), [large.actor.consumer])
            working = asyncio.create_task(large.run())
            answer = await house.client.ask("why is the sky blue?", deadline_s=60)
            await large.stop(1.0)
            await working
    await bus.close()

    (tokens,) = answer.results["large"].tokens
    assert State.OK is answer.status, answer.text
    assert answer.text
    assert () == answer.notes
    assert not tokens.stand_in
    assert (tokens.prompt * 2.0 + tokens.output * 8.0) / 1e6 == pytest.approx(answer.cost.usd)
    assert answer.cost.usd > 0


def _roster(asks: team.Team) -> Roster:
    return msgspec.structs.replace(ROSTER, tiers=build.roster(asks).tiers)
