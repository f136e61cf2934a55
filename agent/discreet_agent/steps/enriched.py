"""The enriched layer: buckets of features, exposures, the trail of segments and flags; what outlives its retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.features import Featuring
    from discreet_agent.steps.trials import Trials
    from discreet_agent.store.store import Store

TRAIL_SECONDS = 90 * 86_400  # where the policy sets no `retention.enriched`


class Enriched:
    """Forgets under one policy after another; every call but `prepare` belongs inside a transaction."""

    def __init__(self, device: Device, store: Store, featuring: Featuring, trials: Trials) -> None:
        self._store = store
        self._featuring = featuring
        self._trials = trials
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device

    def prepare(self) -> None:
        """What needs a transaction of its own."""
        self._featuring.prepare()

    def forget(self) -> None:
        """Forget what is over."""
        self._featuring.forget()
        self._trials.forget()
        kept = self._device.rules.retention.enriched
        kept_ms = (TRAIL_SECONDS if kept is None else seconds(kept)) * 1000
        self._store.personal.forget(self._device.clock.now_ms() - kept_ms)

    def purge(self, signal: str | None, before_ms: int | None) -> None:
        """Forget what was made of one signal's events or of all, up to a moment or all of it."""
        self._featuring.purge(signal, before_ms)
        if signal is None and before_ms is None:
            self._trials.purge()
            self._store.personal.purge()
