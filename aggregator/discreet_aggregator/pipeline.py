"""The server's path of the data, top to bottom: unseal → admit → archive → accumulate → commit → answer.

A batch of envelopes comes in, receipts messages go out. Everything a batch changes is one
transaction, and receipts exist only after its commit: a kill between any two steps loses no
report that was answered and counts none twice. No envelope makes `process` raise.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from discreet_aggregator.admit import Rules, admit
from discreet_aggregator.answer import answer
from discreet_aggregator.archive import pack
from discreet_aggregator.beacon import beacon_now
from discreet_aggregator.records import Admitted, Refused
from discreet_aggregator.refusal import RefusalReason
from discreet_aggregator.unseal import unseal
from discreet_contract.errors import RetryableError
from discreet_contract.wire import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nacl.public import PrivateKey

    from discreet_aggregator.policies import PolicyShelf
    from discreet_aggregator.records import Outgoing, Watermark
    from discreet_aggregator.store.store import Store
    from discreet_aggregator.store.transaction import Transaction
    from discreet_contract.clock import Clock
    from discreet_contract.wire import Verdict

_FORGET_MS = 60_000  # between two looks for report ids that may be forgotten


class Pipeline:
    """Everything that happens to a batch of envelopes. `keys` by encoded key id."""

    def __init__(
        self,
        store: Store,
        shelf: PolicyShelf,
        keys: Mapping[bytes, PrivateKey],
        clock: Clock,
        fleet: str,
        *,
        longest_leap_ms: int | None = None,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._keys = keys
        self._clock = clock
        self._fleet = fleet
        self._longest_leap_ms = longest_leap_ms  # beyond the stored watermark that the clock is believed; None: any
        self._is_clock_believed = longest_leap_ms is None
        self._forget_at_ms = 0
        self.totals: Counter[str] = Counter()  # since start, for the log: "accepted" and every refusal reason

    def beacon(self) -> bytes | None:
        """What time it is by this side's clock, signed for devices; None while the clock is not believed."""
        if not self._is_clock_believed:
            return None
        return beacon_now(self._shelf, self._keys, self._fleet, self._clock.now_ms())

    def use(self, shelf: PolicyShelf) -> None:
        """Judge later batches by these policies; may be called from another thread."""
        self._shelf = shelf

    def use_keys(self, keys: Mapping[bytes, PrivateKey]) -> None:
        """Open later batches with these keys; may be called from another thread."""
        self._keys = keys

    def process(
        self, envelopes: Sequence[bytes], at_the_door: Mapping[RefusalReason, int] | None = None
    ) -> list[Outgoing]:
        """Count a batch and return the receipts to publish; `at_the_door` counts messages that ingest dropped unread.

        Raises RetryableError or StoreError, and then nothing of the batch was counted.
        """
        keys = self._keys  # one and the same for the whole batch
        return self.count([unseal(envelope, keys) for envelope in envelopes], envelopes, at_the_door)

    def count(
        self,
        opened: Sequence[Report | RefusalReason],
        envelopes: Sequence[bytes],
        at_the_door: Mapping[RefusalReason, int] | None = None,
    ) -> list[Outgoing]:
        """The same for envelopes that were opened already: each a report, or why there is none."""
        shelf = self._shelf  # one and the same for the whole batch
        with self._store.transaction() as transaction:
            watermark = self._raise_watermark(transaction)
            stored = transaction.stored_verdicts([report.report_id for report in opened if isinstance(report, Report)])
            decisions = self._admit_in_order(opened, stored, Rules(shelf, self._fleet, watermark))
            admitted = [decision for decision in decisions if isinstance(decision, Admitted)]
            transaction.archive(pack(admitted), watermark.now_ms)
            transaction.remember_verdicts(decisions, stored)
            refusals = _count_refusals(decisions, at_the_door or {})
            transaction.count_refusals(_day(watermark.now_ms), refusals)
            transaction.quarantine(_sample(envelopes, decisions), watermark.now_ms)
        self._note(len(admitted), refusals)
        return answer(decisions, shelf, self._fleet)

    def tend(self) -> bool:
        """A piece of what keeps the store small and quick, between batches; whether there is more to do."""
        now_ms = self._clock.now_ms()
        if self._store.is_merge_due():
            with self._store.transaction() as transaction:
                return transaction.merge_seen()
        if now_ms < self._forget_at_ms:
            return False
        with self._store.transaction() as transaction:
            has_more = transaction.forget_seen(self._raise_watermark(transaction).now_ms)
        self._forget_at_ms = 0 if has_more else now_ms + _FORGET_MS
        return has_more

    def _raise_watermark(self, transaction: Transaction) -> Watermark:
        """A clock that leapt would make every report too late for good, so it has to be confirmed."""
        now_ms, stored_ms = self._clock.now_ms(), transaction.watermark().now_ms
        limit = self._longest_leap_ms
        self._is_clock_believed = limit is None or stored_ms == 0 or now_ms - stored_ms <= limit
        if not self._is_clock_believed:
            raise RetryableError(
                f"this machine's clock says {_day(now_ms)}, and the aggregator was last at work on {_day(stored_ms)}",
                hint="mend the clock; if it is right, `discreet aggregator watermark --set now --reason '…'`",
            )
        return transaction.raise_watermark(now_ms)

    def _admit_in_order(
        self, opened: Sequence[Report | RefusalReason], stored: Mapping[bytes, Verdict], rules: Rules
    ) -> list[Admitted | Refused]:
        """Judge each in order of arrival, so that a second copy within the batch finds the first one's verdict."""
        verdicts = dict(stored)
        decisions: list[Admitted | Refused] = []
        for report in opened:
            if isinstance(report, RefusalReason):
                decisions.append(Refused(report))
                continue
            decision = admit(report, verdicts.get(report.report_id), rules)
            if decision.verdict is not None:
                verdicts.setdefault(report.report_id, decision.verdict)
            decisions.append(decision)
        return decisions

    def _note(self, accepted: int, refusals: Counter[tuple[str, RefusalReason]]) -> None:
        self.totals["accepted"] += accepted
        for (_, reason), count in refusals.items():
            self.totals[reason.value] += count


def _count_refusals(
    decisions: Sequence[Admitted | Refused], at_the_door: Mapping[RefusalReason, int]
) -> Counter[tuple[str, RefusalReason]]:
    counts = Counter((one.metric, one.reason) for one in decisions if isinstance(one, Refused))
    counts.update({("", reason): count for reason, count in at_the_door.items()})
    return counts


def _sample(envelopes: Sequence[bytes], decisions: Sequence[Admitted | Refused]) -> dict[RefusalReason, bytes]:
    """One envelope a reason and batch, for an operator to look into; a duplicate is no fault."""
    sample: dict[RefusalReason, bytes] = {}
    for envelope, decision in zip(envelopes, decisions, strict=True):
        if isinstance(decision, Refused) and decision.reason is not RefusalReason.DUPLICATE:
            sample.setdefault(decision.reason, envelope)
    return sample


def _day(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
