"""Values that the stages hand to one another through the pipeline; frozen, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from discreet_contract.wire import Dimensions, Verdict

if TYPE_CHECKING:
    from discreet_aggregator.refusal import RefusalReason
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.wire import Report


class Cell(NamedTuple):
    """What sums are kept for. Figures of two metric versions are never added."""

    metric: str
    metric_version: str
    window_start: int  # seconds
    dimensions: Dimensions


@dataclass(frozen=True, slots=True)
class Admitted:
    """A report that counts; `value` is its payload as an integer, already randomised by the device."""

    verdict: ClassVar[Verdict] = Verdict.ACCEPTED

    report: Report
    plan: MetricPlan
    value: int
    keep_until: int  # seconds; after it the same bytes would be too late anyway

    @property
    def cell(self) -> Cell:
        """Where it is summed."""
        return Cell(self.plan.name, self.plan.version, self.report.window_start, self.report.dimensions)


@dataclass(frozen=True, slots=True)
class Block:
    """Reports of one batch, cell and policy, ascending by report id."""

    cell: Cell
    plan: MetricPlan
    policy_hash: bytes
    values: tuple[int, ...]
    payloads: bytes  # all of one length
    report_ids: bytes  # 16 bytes each

    @property
    def reports(self) -> int:
        """How many."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Refused:
    """An envelope that does not count.

    `report` is None where it could not be opened, `verdict` where the device is not answered.
    `metric` is "" unless it is a metric of a policy we know: a sender cannot invent rows.
    """

    reason: RefusalReason
    report: Report | None = None
    verdict: Verdict | None = None
    metric: str = ""
    keep_until: int = 0  # seconds


@dataclass(frozen=True, slots=True)
class Watermark:
    """What time it is for admission, stored with what it decided. Neither part ever falls by itself."""

    now_ms: int
    forgotten_seconds: int = 0  # ids whose reports would be too late at this time may be forgotten: they are refused


class Outgoing(NamedTuple):
    """A message to publish once the transaction is committed."""

    topic: str
    payload: bytes
