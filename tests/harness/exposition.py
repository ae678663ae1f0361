"""Metrics of a task as Prometheus sees them: what the code registers, under the names of the documented translation.

The exporter of the OpenTelemetry SDK follows the rules of the collector's
(https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/pkg/translator/prometheus).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from harness.house import SUBJECTS, open_house
from metier.cluster.metrics import Watch
from metier.topics.memory import MemoryBus

TESTS = Path(__file__).parents[1]


def series() -> dict[str, set[str]]:
    """The labels of each series, by its name; asked of a process of its own, for a process has one meter provider."""
    command = [sys.executable, "-m", __name__]
    text = subprocess.run(command, cwd=TESTS, check=True, capture_output=True, text=True).stdout
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("otel_scope_name") != "metier":
                continue  # the exporter's own
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def _work() -> None:
    bus = MemoryBus(SUBJECTS)
    async with open_house(bus) as house:
        Watch(house.loops["red"])
        await house.client.ask("red")
    await bus.close()


if __name__ == "__main__":
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    asyncio.run(_work())
    print(generate_latest(REGISTRY).decode())
