"""The order of the steps on a device. Two ways through: an event comes in, a window closes.

    record          validate → rate limit → known id? → raw block → tallies, features
                    one commit for many events
    close_windows   begins: caps → reserved · ends: charge → tally → conclude → bound → randomise → seal → outbox
                    one commit for all metrics of a window, then the ledger's head, then it may leave
    settle          receipt → sent
                    one commit for many receipts
    forget          what has outlived its retention

Stages are plain functions; only the steps hand their values to the store.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from discreet_agent.budget_clock import BudgetClock
from discreet_agent.event import Batch
from discreet_agent.steps.close import Closing
from discreet_agent.steps.correct import Correcting
from discreet_agent.steps.dating import Dating
from discreet_agent.steps.deriving import Deriving
from discreet_agent.steps.device import without_killed
from discreet_agent.steps.enriched import Enriched
from discreet_agent.steps.features import Featuring
from discreet_agent.steps.forget import Forgetting
from discreet_agent.steps.layer import RawLayer
from discreet_agent.steps.merge import Merging
from discreet_agent.steps.personalize import Personalizing
from discreet_agent.steps.purge import Purging
from discreet_agent.steps.record import Recording
from discreet_agent.steps.resend import Resending
from discreet_agent.steps.sending import Sending
from discreet_agent.steps.tallying import Tallying
from discreet_agent.steps.trials import Trials
from discreet_agent.steps.watch import Watching

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_agent.anomaly import Finding
    from discreet_agent.event import Received, Refused
    from discreet_agent.publish import Handed
    from discreet_agent.steps.admit import Admission
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.purge import Purge
    from discreet_agent.store.head import Halted, HeadKeeper
    from discreet_agent.store.outbox import OutboxRow
    from discreet_agent.store.store import Store
    from discreet_contract.policy.release import VerifiedPolicy
    from discreet_contract.resend import ResendRefusal
    from discreet_contract.wire import Receipt


class Pipeline:
    """One device's pipeline over its open store. Single-threaded: one writer."""

    def __init__(self, device: Device, store: Store, head: HeadKeeper) -> None:
        self._device = device = replace(device, policy=without_killed(device.policy))
        self._store = store
        self._time = BudgetClock(store, device.clock)
        self._layer = RawLayer(device, store)
        self._tallying = Tallying(device, store, self._layer)
        self.features = Featuring(device, store, self._layer)
        deriving = Deriving(self._tallying, self.features)
        correcting = Correcting(store, self._layer, deriving)
        self.trials = Trials(device, store, self._layer)
        self._enriched = Enriched(device, store, self.features, self.trials)
        self.personal = Personalizing(device, store, self._layer, self.features, self.trials)
        self._watching = Watching(device, store)
        self._recording = Recording(device, store, self._layer, deriving, correcting, self._watching)
        self._closing = Closing(device, store, head, self._time, self.trials)
        self._sending = Sending(device, store, head)
        self._resending = Resending(device, store, self._time)
        self._forgetting = Forgetting(device, store, self._layer, self._enriched, self._sending, self._time)
        self._dating = Dating(device, store, self._layer, deriving)
        self._merging = Merging(store, self._layer)
        self._passes = 0  # of tidying, the last one begun
        self._purging = Purging(store, self._layer, self._tallying, self._enriched, self._forgetting)

    def adopt(self, policy: VerifiedPolicy) -> None:
        """Go on under another policy: at once for what is received, at a window border for metrics.

        A metric whose definition stays the same goes on within its window. A new or redefined one begins
        with the next whole window, and one that left the policy ends at once: what was counted is forgotten.
        """
        policy = without_killed(policy)
        with self._store.transaction():
            self._store.tallies.keep_only(policy.plans)
        self._device = replace(self._device, policy=policy)
        tallied = (self._layer, self._tallying, self.features, self._watching, self._recording)
        personal = (self.trials, self._enriched, self.personal)
        for step in (
            *tallied,
            *personal,
            self._closing,
            self._sending,
            self._resending,
            self._forgetting,
            self._dating,
        ):
            step.adopt(self._device)

    def note_pause(self) -> None:
        """Remember that nothing is observed now, so that no window of this time is ever reported as if it were."""
        self._closing.note_pause()

    # --- an event comes in -----------------------------------------------------------------

    def record(self, received: Sequence[Received], sender: str = "") -> list[Refused | None]:
        """The same for one sender's events."""
        return self.record_group([Batch(sender, received)])

    def record_group(self, batches: Sequence[Batch]) -> list[Refused | None]:
        """Take events; returns None for each one that is now on disk, its refusal for each other, in order."""
        return self._recording.record(batches)

    def count_refused(self, refused: Sequence[Refused]) -> None:
        """Count what was refused before it came here; written down with the next commit."""
        self._recording.count_refused(refused)

    def watch(self) -> None:
        """Judge the hour that is over, if one is; what is unlike the usual is recorded like any event."""
        if self._device.why_off is None:
            found = self._watching.tick(is_dated=self._layer.is_dated)
            if found:
                self.record(found)

    @property
    def anomalies(self) -> Sequence[Finding]:
        """What was found lately, newest first."""
        return list(self._watching.findings)

    def write_refusals(self) -> None:
        """Write down now what was only counted in memory: before the agent stops."""
        if self._device.why_off is None:
            self._recording.write_refusals(at_once=True)
            self.trials.write_repeats()
            with self._store.transaction():
                self.features.living.save()
                self._layer.write_clock()

    @property
    def admission(self) -> Admission:
        """Who was refused, and whether contracts are kept: for whoever asks."""
        return self._recording.admission

    # --- a window closes -------------------------------------------------------------------

    def close_windows(self) -> int:
        """Close every window that is over; returns how many reports were put into the outbox."""
        if self._device.why_off is None:
            self._layer.keep_clock()
        return self._closing.close_windows()

    def publishable(self, limit: int) -> list[OutboxRow]:
        """Reports that may leave now, longest due first: their charges stand below the head outside the database."""
        return self._sending.publishable(limit)

    @property
    def expiry_seconds(self) -> int:
        """How long a broker shall keep what is handed to it now: the same for every report of the fleet."""
        return self._sending.expiry_seconds

    def note_sent(self, handed: Sequence[Handed]) -> None:
        """Keep what was handed to the broker: when, how often, and when it is due again without a receipt."""
        self._sending.note_sent(handed)

    @property
    def halted(self) -> Halted | None:
        """Why nothing is charged and nothing leaves, though the owner and the policy would allow it; else None."""
        return self._closing.halted

    def learn_signed_time(self, ms: int) -> None:
        """Take the time under the log's head that is obeyed; budgets go by it where the wall clock cannot be proven."""
        self._time.learn(ms)
        self._layer.clock.hear(ms)

    def hear_time(self, ms: int) -> None:
        """Take the aggregator's word that it is at least so late; the device's own clock is believed up to there."""
        self._time.hear(ms)
        self._layer.clock.hear(ms)

    # --- the aggregator answers ------------------------------------------------------------

    def settle(self, receipts: Sequence[Receipt]) -> int:
        """Clear the reports that these receipts are truly for; returns how many. Forged receipts are counted."""
        return self._sending.settle(receipts)

    def hear_resend(self, content: bytes) -> ResendRefusal | None:
        """Take the aggregator's request to send again; returns why it is refused. A repeated one changes nothing."""
        return self._resending.hear(content)

    def resend(self) -> int:
        """Put some of what was asked for again back into the outbox; returns how many reports."""
        return self._resending.step()

    # --- time passes -----------------------------------------------------------------------

    def forget(self) -> int:
        """Forget all that is over, merge and mend: one whole `tidy`. Returns how many raw events were forgotten."""
        return sum(self.tidy())

    def tidy(self) -> Iterator[int]:
        """The same in small steps, between which events may be received; each yields how many events it forgot.

        Ends early where the owner says off or purges meanwhile: what it had found to do is then out of date.
        """
        if self._device.why_off is not None:
            return
        self._passes += 1
        this = self._passes
        for gone in self._tidy():
            yield gone
            if this != self._passes or self._device.why_off is not None:
                return

    def _tidy(self) -> Iterator[int]:
        self._recording.write_refusals()
        self._layer.seal_old()
        yield from self._forgetting.steps()
        for _ in self._dating.steps():
            yield 0
        for _ in self._merging.steps():
            yield 0

    def purge(self, purge: Purge) -> int:
        """Forget what the owner says, now, also while recording is off; returns how many raw events went."""
        self.admission.drop_pending()
        self._passes += 1
        self._watching.forget(purge.signal)
        gone = self._purging.purge(purge)
        self.personal.begin_anew()
        return gone

    # --- apps ask --------------------------------------------------------------------------

    def personalize(self) -> None:
        """What happens as time passes: enrolled in experiments, segments entered and left, flags reverted."""
        self.trials.tick()
        self.personal.settle()

    @property
    def is_absence_held(self) -> bool:
        """Whether the clock claims an absence that retention does not count yet."""
        return self._layer.clock.is_held

    @property
    def tidy_seconds(self) -> int:
        """How often to tidy up."""
        return self._forgetting.pass_seconds
