"""SIGTERM and SIGINT ask a process to finish what it holds and end."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` when told to end, as long as the block runs."""

    def stop_soon(*_: object) -> None:
        # From another thread: this handler may interrupt the very `stop.wait` whose lock `stop.set` needs.
        threading.Thread(target=stop.set, daemon=True).start()

    before = {name: signal.signal(name, stop_soon) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
