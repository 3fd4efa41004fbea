"""Ctrl-C at a moment when nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C and a request to terminate back until what is inside is whole, then let them happen.

    Only the main thread receives signals; elsewhere nothing is held back, and nothing needs to be.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[signal.Signals, FrameType | None]] = []
    kept: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler):  # one that Python does not know, or none, is left alone
            kept[number] = signal.signal(number, lambda found, frame: arrived.append((signal.Signals(found), frame)))
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if arrived:
        number, frame = arrived[0]
        kept[number](number, frame)
