"""The lanes of a work queue: interactive before batch, and within a class tenants by turns.

    task.{tenant}.{class}.{share}    subtask.{specialist}.{class}.{share}    escalation.{tier}.{class}.{share}

A share is a small hash of the tenant: tenants of different shares cannot be in each other's way. The server adds it
to a task's subject, so that whoever publishes need not know of it.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

#: Into so many shares tenants are hashed. Each costs every actor two consumers on the server.
SHARES = 8
#: The most urgent first.
CLASSES = ("interactive", "batch")
#: Of a class that is passed over, so many times in a row, one message comes first all the same.
PATIENCE = 16

#: A lane's place is its class's times SHARES, and its share.
LANES = tuple((class_, share) for class_ in CLASSES for share in range(SHARES))


@lru_cache(maxsize=4096)
def share(tenant: str) -> int:
    """The share of a tenant, as the server's `partition(8, 1)` has it: FNV-1a of 32 bits."""
    digest = 2166136261
    for byte in tenant.encode():
        digest = (digest ^ byte) * 16777619 & 0xFFFFFFFF
    return digest % SHARES


def lane(subject: str) -> int:
    """The lane of a stored subject: its last two tokens."""
    _, class_, share_ = subject.rsplit(".", 2)
    return CLASSES.index(class_) * SHARES + int(share_)


class Turns:
    """Whose turn it is among lanes where something waits."""

    def __init__(self) -> None:
        self._count = self._passed_over = 0
        self._served = [0] * len(LANES)

    def next(self, ready: Collection[int]) -> int:
        """The lane of the most urgent class that was served longest ago."""
        first, last = min(ready) // SHARES, max(ready) // SHARES
        if first != last:
            self._passed_over += 1
        if self._passed_over > PATIENCE:
            first, self._passed_over = last, 0
        chosen = min((place for place in ready if place // SHARES == first), key=self._served.__getitem__)
        self._count += 1
        self._served[chosen] = self._count
        return chosen
