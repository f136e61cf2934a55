"""Why the server does not count a report: a closed list, and what the device is told.

A reason without a verdict may pass (a key or a policy not loaded yet, a clock behind) or is
found before the receipt key is known: no receipt, nothing stored, the device tries again.
"""

from __future__ import annotations

from enum import StrEnum

from discreet_contract.wire import Verdict


class RefusalReason(StrEnum):
    """Every reason the aggregator counts; in the order in which the checks are made."""

    RETAINED = "retained"  # a retained message: whoever published it, it is not one device's one report
    TOO_LARGE = "too_large"  # a message over ingest's limit, dropped unread
    SIZE = "size"  # not one of the four envelope lengths
    MAGIC = "magic"
    KEY_UNKNOWN = "key_unknown"
    UNOPENABLE = "unopenable"
    MALFORMED = "malformed"  # opened, but not a report
    WIRE_VERSION_UNKNOWN = "wire_version_unknown"
    DUPLICATE = "duplicate"
    WRONG_FLEET = "wrong_fleet"
    POLICY_UNKNOWN = "policy_unknown"
    METRIC_UNKNOWN = "metric_unknown"
    MECHANISM_MISMATCH = "mechanism_mismatch"
    DIMENSIONS_ILLEGAL = "dimensions_illegal"
    WINDOW_ILLEGAL = "window_illegal"
    WINDOW_NOT_BEGUN = "window_not_begun"  # by this clock the window has not ended; the device's may be ahead
    WINDOW_TOO_LATE = "window_too_late"
    PAYLOAD_ILLEGAL = "payload_illegal"


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
