"""Signals that end a program: taken in one way, or not just now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def _as_ctrl_c(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def termination_as_keyboard_interrupt() -> Iterator[None]:
    """Take the closing of the terminal and a request to end as Ctrl-C, after which everything is put in order."""
    with _handled(_as_ctrl_c):
        yield


@contextmanager
def ignore_termination() -> Iterator[None]:
    """Ignore signals that end a program for a moment, so that putting things in order is not broken off as well."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set, and do not arrive
        yield
        return
    # What is ignored stays so: under nohup the terminal may be closed.
    heard = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
