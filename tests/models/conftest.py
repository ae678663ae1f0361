"""The bundled models, pulled if they are not there yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from metier.actors.engines.sources import KNOWN, pull


@pytest.fixture(scope="session")
def slm() -> Path:
    return pull(KNOWN["smollm2-135m-instruct"])


@pytest.fixture(scope="session")
def minilm() -> Path:
    return pull(KNOWN["all-minilm-l6-v2"])


@pytest.fixture(scope="session")
def e5() -> Path:
    return pull(KNOWN["multilingual-e5-small"])
