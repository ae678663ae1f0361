from collections.abc import AsyncIterator

import pytest

from harness.house import SUBJECTS
from metier.topics.memory import MemoryBus


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    """A bus in memory: the peer is what is real here."""
    bus = MemoryBus(SUBJECTS)
    yield bus
    await bus.close()
