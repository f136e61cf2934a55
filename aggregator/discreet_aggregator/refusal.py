"""Why the server does not count a report: a closed list, and what the device is told.

A reason without a verdict may pass (a key or a policy not loaded yet, a clock behind) or is
found before the receipt key is known: no receipt, nothing stored, the device tries again.
"""

from __future__ import annotations

from enum import StrEnum

from discreet_contract.wire import Verdict


class RefusalReason(StrEnum):
    """Every reason the aggregator counts; in the order in which the checks are made."""

    RETAINED = "RETAINED"  # a retained message: whoever published it, it is not one device's one report
    TOO_LARGE = "TOO_LARGE"  # a message over ingest's limit, dropped unread
    OVERFLOW = "OVERFLOW"  # a message of QoS 0 that found no room; devices publish at QoS 1, which waits at the broker
    SIZE = "SIZE"  # not one of the four envelope lengths
    MAGIC = "MAGIC"
    KEY_UNKNOWN = "KEY_UNKNOWN"
    UNOPENABLE = "UNOPENABLE"
    MALFORMED = "MALFORMED"  # opened, but not a report
    WIRE_VERSION_UNKNOWN = "WIRE_VERSION_UNKNOWN"
    DUPLICATE = "DUPLICATE"
    WRONG_FLEET = "WRONG_FLEET"
    POLICY_UNKNOWN = "POLICY_UNKNOWN"
    METRIC_UNKNOWN = "METRIC_UNKNOWN"
    MECHANISM_MISMATCH = "MECHANISM_MISMATCH"
    DIMENSIONS_ILLEGAL = "DIMENSIONS_ILLEGAL"
    WINDOW_ILLEGAL = "WINDOW_ILLEGAL"
    WINDOW_NOT_BEGUN = "WINDOW_NOT_BEGUN"  # by this clock the window has not ended; the device's may be ahead
    WINDOW_TOO_LATE = "WINDOW_TOO_LATE"
    PAYLOAD_ILLEGAL = "PAYLOAD_ILLEGAL"


# A duplicate is answered with the verdict that is stored, so it has none of its own here.
_VERDICTS = {
    RefusalReason.WIRE_VERSION_UNKNOWN: Verdict.WIRE_VERSION_UNKNOWN,
    RefusalReason.WRONG_FLEET: Verdict.WRONG_FLEET,
    RefusalReason.METRIC_UNKNOWN: Verdict.METRIC_UNKNOWN,
    RefusalReason.MECHANISM_MISMATCH: Verdict.MECHANISM_MISMATCH,
    RefusalReason.DIMENSIONS_ILLEGAL: Verdict.DIMENSIONS_ILLEGAL,
    RefusalReason.WINDOW_ILLEGAL: Verdict.WINDOW_ILLEGAL,
    RefusalReason.WINDOW_TOO_LATE: Verdict.WINDOW_TOO_LATE,
    RefusalReason.PAYLOAD_ILLEGAL: Verdict.PAYLOAD_ILLEGAL,
}


def verdict_of(reason: RefusalReason) -> Verdict | None:
    """What a device is told once and for all; None where it is told nothing and tries again."""
    return _VERDICTS.get(reason)
