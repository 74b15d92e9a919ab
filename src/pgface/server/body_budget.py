"""A budget of the bytes of request bodies in memory, with fair shares between requesters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pgface.errors import ServiceBusyError
from pgface.server import metrics


class BodyBudget:
    """The bytes of request bodies that may be in memory together."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self.used: Counter[str] = Counter()
        """The bytes that the bodies of each requester use."""

    @contextmanager
    def lease(self, requester: str = "") -> Iterator[BodyLease]:
        """Open the lease of one body. Its bytes are free again when the block ends."""
        lease = BodyLease(self, requester)
        try:
            yield lease
        finally:
            self.free += lease.used
            self.used[requester] -= lease.used
            self.used += Counter()  # removes requesters that use nothing


@dataclass(slots=True)
class BodyLease:
    """The bytes that one body uses."""

    budget: BodyBudget
    requester: str
    used: int = 0

    def take(self, size: int) -> None:
        """Use more bytes, up to the whole budget.

        A requester with several bodies may use no more bytes than it leaves free. So two requesters cannot use up the
        budget (dynamic threshold; Choudhury and Hahne 1998).

        Raises:
            ServiceBusyError: the bytes are not free, or the requester uses too many already.

        """
        budget = self.budget
        size = min(size, budget.total - self.used)
        in_other_bodies = budget.used[self.requester] - self.used
        too_many = in_other_bodies > 0 and in_other_bodies + self.used + size > budget.free - size
        if size > budget.free or too_many:
            metrics.refused.inc()
            raise ServiceBusyError
        budget.free -= size
        budget.used[self.requester] += size
        self.used += size
