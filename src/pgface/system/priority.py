"""The priority of a process."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

_NICENESS: Final = 19


def give_way() -> None:
    """Let other programs of the machine use the cores first. Call it before threads start, because they inherit it.

    On Linux, this process then runs only on cores that are idle otherwise. Going back needs rights that pgface does not
    have.
    """
    with suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
