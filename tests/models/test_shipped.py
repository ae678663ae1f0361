"""The models that the trip team ships, on requests that were never learned from: as good as they are said to be.

`ops/evaluation.md` has the figures. Each bound is the lower end of the interval measured when the model was shipped.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from metier.actors.learning.evaluation.report import TRAINED, Report
from metier.cluster import cli


def test_the_router_plans_as_well_as_it_is_said_to(tmp_path: Path) -> None:
    out = tmp_path / "report.json"

    assert 0 == cli.run(["eval", "router", "--out", str(out)])

    report = msgspec.json.decode(out.read_bytes(), type=Report)
    found = {(row.data, row.measure): row.figure.value for row in report.rows if row.arm == TRAINED}
    assert found["by hand, en", "set F1"] >= 0.89
    assert found["by hand, en", "whole set exact"] >= 0.62
    assert found["by hand, fr", "set F1"] >= 0.81
    assert found["by hand, fr", "whole set exact"] >= 0.44
