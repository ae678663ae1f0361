"""How sure a model is of an output that another library decodes: from the tokens' chances, as far as it tells them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .grammar import LlMatcher


class Chances:
    """Follows one output through its grammar, and counts the chances of tokens that the grammar left free."""

    def __init__(self, matcher: LlMatcher) -> None:
        self._matcher = matcher
        #: The least of them, none if there was no choice; and their product.
        self.least: float | None = None
        self.joint = 1.0

    @property
    def finished(self) -> bool:
        """Whether nothing may follow."""
        return self._matcher.finished

    def masked(self, token: int, log: float) -> None:
        """Takes a token and the logarithm of its chance among those that the grammar allowed."""
        if int(self._matcher.allowed().sum()) > 1:
            self._count(math.exp(log))
        self._matcher.accept(token)

    def unmasked(self, token: int, log: float, likeliest: Mapping[int, float], *, greedy: bool) -> None:
        """Takes a token and the logarithm of its chance among all, beside those of the `likeliest`.

        The grammar may allow tokens that are not among these. They are taken to be as likely as they can be, so that
        the chance is never overstated: together what the likeliest leave; each no more than the last of them, nor,
        where the likeliest allowed token was taken, than that one.
        """
        allowed = self._matcher.allowed()
        if (free := int(allowed.sum())) > 1:
            logs = {**likeliest, token: log}
            known = [math.exp(each) for at, each in logs.items() if allowed[at]]
            unknown = free - len(known)
            own, left = math.exp(log), max(0.0, 1 - sum(map(math.exp, logs.values())))
            limits: list[float] = [*map(math.exp, likeliest.values()), *([own] if greedy else [])]
            most = min(limits) if limits else 1.0
            self._count(own / (sum(known) + min(left, unknown * most)))
        self._matcher.accept(token)

    def _count(self, chance: float) -> None:
        self.least = chance if self.least is None else min(self.least, chance)
        self.joint *= chance
