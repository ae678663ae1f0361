"""A team of somebody's own: the example of the README, as it stands there."""

from __future__ import annotations

from pathlib import Path

from harness.local_team import local_team
from metier.topics.client import connect
from metier.topics.messages import State

ROOT = Path(__file__).parents[2]
OFFICE = ROOT / "ops" / "examples" / "office" / "team.yaml"


def test_the_readme_shows_the_example_as_it_is() -> None:
    assert OFFICE.read_text() in (ROOT / "README.md").read_text()


async def test_a_new_team_routes_by_example_and_runs_its_own_tool(tmp_path: Path) -> None:
    with local_team(tmp_path / "state", OFFICE) as team:
        async with connect(team.ready().nats_url) as client:
            stock = await client.ask("How many boxes of envelopes do we still have?", deadline_s=60)
            papers = await client.ask("Please find the contract with Acme", deadline_s=60)
            nobody = await client.ask("Who won the world cup in 1998?", deadline_s=60)
        assert set() == team.stop()

    assert (State.OK, "12 of envelopes left") == (stock.status, stock.text)
    assert ["stock"] == [node.id for node in stock.plan.nodes]
    assert State.OK is papers.status
    assert "Contract with Acme, 2024" in papers.text
    assert State.FAILED is nobody.status
    assert "no larger model" in nobody.text
