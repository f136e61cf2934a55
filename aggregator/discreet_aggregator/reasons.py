"""What each reason to refuse means and what to do, in an operator's words; docs/operations.md has them as a table."""

from __future__ import annotations

from discreet_aggregator.refusal import RefusalReason

_STRANGER = "find who publishes it: no device of ours does; look at the broker's accounts"
_HOSTILE = "a broken or hostile device; many of them: compare the versions of agents and aggregator"

MEANINGS: dict[RefusalReason, tuple[str, str]] = {
    RefusalReason.RETAINED: (
        "a retained message; devices never retain",
        "find who publishes it; clear it in the broker",
    ),
    RefusalReason.TOO_LARGE: ("over 8 KiB, dropped unread", _STRANGER),
    RefusalReason.OVERFLOW: ("QoS 0, and no room; devices publish at QoS 1", _STRANGER),
    RefusalReason.SIZE: ("not one of the four lengths", _STRANGER),
    RefusalReason.MAGIC: ("does not begin as an envelope does", _STRANGER),
    RefusalReason.KEY_UNKNOWN: ("sealed to a key that is not here", "put the key into keys_dir; devices send again"),
    RefusalReason.UNOPENABLE: (
        "altered, or sealed to another key of the same id",
        "`discreet aggregator keys list`: is another private half here than the policy says?",
    ),
    RefusalReason.MALFORMED: ("opened, but no report", _HOSTILE),
    RefusalReason.WIRE_VERSION_UNKNOWN: ("a newer or older device", "upgrade the aggregator"),
    RefusalReason.DUPLICATE: ("a copy, answered again", "nothing; many of them: receipts do not reach devices"),
    RefusalReason.WRONG_FLEET: ("a report of another fleet", "mend the device's policy or the broker's access list"),
    RefusalReason.POLICY_UNKNOWN: ("under a policy that is not in `policies`", "pull the log; devices send again"),
    RefusalReason.METRIC_UNKNOWN: ("its policy has no such metric", _HOSTILE),
    RefusalReason.MECHANISM_MISMATCH: ("not the mechanism of its policy", _HOSTILE),
    RefusalReason.DIMENSIONS_ILLEGAL: ("a dimension that its policy does not give it", _HOSTILE),
    RefusalReason.WINDOW_ILLEGAL: ("does not start on the metric's grid", _HOSTILE),
    RefusalReason.WINDOW_NOT_BEGUN: ("its window has not ended by this clock", "set the clocks; it passes by itself"),
    RefusalReason.WINDOW_TOO_LATE: ("after the late horizon", "a longer `late_horizon`, if it is common"),
    RefusalReason.PAYLOAD_ILLEGAL: ("bytes that no honest device sends", _HOSTILE),
}
