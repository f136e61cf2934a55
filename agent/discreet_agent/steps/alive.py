"""When the sources of features were alive: when their events would have been taken.

A feature of a window in which nothing was observed is not zero, it is unknown. Spans are prolonged in memory with
every tick and written down now and then; what a kill costs of them counts as not observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.features.grid import LONGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.steps.device import Device
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.store import Store

SAVE_EVERY_MS = 900_000  # an idle device shall not wear out its flash
SAME_SPAN_MS = 60_000  # silence that ends no span: a restart, a slow tick
MOST_SPANS = 1000  # of a signal


class Living:
    """Keeps the spans of the signals that features are made of."""

    def __init__(self, device: Device, store: Store, layer: RawLayer) -> None:
        self._store = store
        self._layer = layer
        self._device = device
        self._signals: frozenset[str] = frozenset()
        self._spans: dict[str, list[list[int]]] | None = None
        self._saved_ms = 0

    def adopt(self, device: Device, signals: frozenset[str]) -> None:
        """Go on under this device's policy, for these signals."""
        self._device = device
        self._signals = signals - device.silenced

    def tick(self) -> None:
        """They are alive now; call it about once a second while events are taken."""
        if not self._signals or not self._layer.is_dated:
            return
        now_ms = self._device.clock.now_ms()
        for signal in self._signals:
            spans = self._loaded().setdefault(signal, [])
            if spans and 0 <= now_ms - spans[-1][1] <= SAME_SPAN_MS:
                spans[-1][1] = now_ms
            elif not spans or now_ms > spans[-1][1]:
                spans.append([now_ms, now_ms])
        if abs(now_ms - self._saved_ms) >= SAVE_EVERY_MS:
            with self._store.transaction():
                self.save()

    def save(self) -> None:
        """Write down how far they reach; within a transaction."""
        now_ms = self._device.clock.now_ms()
        for signal in self._signals:
            spans = self._loaded().get(signal)
            if spans:
                self._store.source_spans.save(signal, *spans[-1])
        self._store.source_spans.forget(now_ms - LONGEST * 1000, MOST_SPANS)
        self._saved_ms = now_ms

    def spans(self, signal: str) -> Sequence[Sequence[int]]:
        """[[first ms, last ms], …] of a signal, oldest first."""
        return self._loaded().get(signal, ())

    def purge(self, before_ms: int | None) -> None:
        """Forget when the device was in use, up to a moment; within a transaction."""
        if before_ms is None:
            self._store.source_spans.clear()
        else:
            self._store.source_spans.forget(before_ms, MOST_SPANS)
        self._spans = None

    def _loaded(self) -> dict[str, list[list[int]]]:
        if self._spans is None:
            self._spans = self._store.source_spans.load()
        return self._spans
