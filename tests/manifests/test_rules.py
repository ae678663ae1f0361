"""Prometheus' own tool on what Prometheus is given: it reads it, and the alerts call when they should."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from harness.manifests import OPS

PLAYED = Path(__file__).with_name("alerts.yaml")
RULES = OPS / "prometheus/alerts.yaml"


def promtool(*arguments: object) -> tuple[int, str]:
    """Exit status and output."""
    command = [os.environ.get("PROMTOOL", "promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_prometheus_takes_its_configuration_with_the_rules_it_names() -> None:
    status, said = promtool("check", "config", OPS / "prometheus/prometheus.yaml")

    assert 0 == status, said
    assert "1 rule files found" in said


def test_the_rules_have_no_fault_that_the_linter_finds() -> None:
    status, said = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)

    assert 0 == status, said


def test_alerts_call_when_they_should_and_not_before() -> None:
    status, said = promtool("test", "rules", PLAYED)

    assert 0 == status, said


def test_every_alert_is_played() -> None:
    rules = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    looks = [look for test in yaml.safe_load(PLAYED.read_text())["tests"] for look in test["alert_rule_test"]]

    assert rules == {look["alertname"] for look in looks if look.get("exp_alerts")}
    assert rules == {look["alertname"] for look in looks if not look.get("exp_alerts")}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("absent(metier_messages_waiting)", "absent(metier_messages_wating)"),
        ("[1h]", "[1d]"),
        ("messages_total[5m])) == 0", "messages_total[5m])) < 0"),
        ("> 30\n        for: 5m", "> 300\n        for: 5m"),
        ("> 0.05", "> 0.5"),
        ("histogram_quantile(0.99", "histogram_quantile(0.9"),
    ],
)
def test_an_alert_that_means_something_else_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    assert old in RULES.read_text()
    (tmp_path / "rules.yaml").write_text(RULES.read_text().replace(old, new))
    (tmp_path / "played.yaml").write_text(
        PLAYED.read_text().replace(f"../../ops/prometheus/{RULES.name}", "rules.yaml")
    )

    status, said = promtool("test", "rules", tmp_path / "played.yaml")
    assert 1 == status
    assert "FAILED" in said
