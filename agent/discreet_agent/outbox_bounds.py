"""Whether the policy's `outbox` lets one more report wait. Where not, nothing is drawn and nothing is charged."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from discreet_contract.wire import ENVELOPE_SIZES

if TYPE_CHECKING:
    from discreet_agent.store.outbox import OutboxSize
    from discreet_contract.policy.operation import Outbox


class OutboxBound(StrEnum):
    """Closed list of what a full outbox can have reached."""

    REPORTS = "REPORTS"
    BYTES = "BYTES"


def bound_reached(bounds: Outbox, held: OutboxSize) -> OutboxBound | None:
    """The bound that one more report would pass, or None. A report may take the largest envelope."""
    if bounds.max_reports is not None and held.reports >= bounds.max_reports:
        return OutboxBound.REPORTS
    if bounds.max_bytes is not None and held.bytes + ENVELOPE_SIZES[-1] > bounds.max_bytes:
        return OutboxBound.BYTES
    return None


def explain_full(bounds: Outbox, held: OutboxSize) -> str:
    """Which bound, how much is used, what to do (P9); empty where there is room."""
    bound = bound_reached(bounds, held)
    if bound is None:
        return ""
    used = {
        OutboxBound.REPORTS: f"{held.reports} of {bounds.max_reports} reports",
        OutboxBound.BYTES: f"{held.bytes} of {bounds.max_bytes} bytes, and the next may take {ENVELOPE_SIZES[-1]}",
    }[bound]
    return (
        f"full: {used} wait for a receipt; windows wait uncharged until there is room or the late horizon has passed. "
        "See that the broker is reachable and the aggregator answers, or let a policy allow more in `outbox`"
    )
