"""Handles the signals that end a program as Ctrl-C, or ignores them for a moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_TERMINATION_SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def _raise_keyboard_interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def termination_as_keyboard_interrupt() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP as Ctrl-C, so that the program cleans up before it ends."""
    with handle_termination(_raise_keyboard_interrupt):
        yield


@contextmanager
def ignore_termination() -> Iterator[None]:
    """Ignore the signals that end a program, so that they cannot interrupt the clean-up."""
    with handle_termination(signal.SIG_IGN):
        yield


@contextmanager
def handle_termination(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    """Handle the signals that end a program in the block: SIGINT, SIGTERM and SIGHUP."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread can set and receive signals
        yield
        return
    # Ignored signals stay ignored: under nohup, you can close the terminal.
    handled = [number for number in _TERMINATION_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def delay_termination() -> Iterator[None]:
    """Handle the signals that end a program at the end of the block, and not in it.

    Native packages crash the process if an interrupt arrives while they are imported or load a model.
    """
    arrived: list[int] = []
    try:
        with handle_termination(lambda number, _: arrived.append(number)):
            yield
    finally:
        for number in arrived[:1]:
            signal.raise_signal(number)
