"""A bus that counts."""

from __future__ import annotations

from metier.topics.bus import Entry
from metier.topics.memory import MemoryBus


class CountedBus(MemoryBus):
    """Counts how often its ledger is read."""

    reads = 0
    _writing = False

    async def read(self, key: str) -> Entry | None:
        self.reads += not self._writing
        return await super().read(key)

    async def write(self, key: str, value: bytes, revision: int) -> int:
        self._writing = True  # it reads to compare
        try:
            return await super().write(key, value, revision)
        finally:
            self._writing = False
