"""The order of the rules, and what each decision carries."""

from __future__ import annotations

import pytest

from discreet_aggregator.admit import Rules, admit
from discreet_aggregator.records import Admitted, Watermark
from discreet_aggregator.refusal import RefusalReason
from discreet_contract.wire import Verdict

# Each step mends the first fault of the step before, so the next rule in order has its say.
FAULTS = {
    "wire_version": 9,
    "fleet": "other",
    "policy_hash": bytes(16),
    "metric": "nothing",
    "mechanism": "krr-1",
    "dimensions": (("arm", "a"),),
    "window_start": 1,
    "payload": b"\x09",
}
ORDER = [
    RefusalReason.WIRE_VERSION_UNKNOWN,
    RefusalReason.WRONG_FLEET,
    RefusalReason.POLICY_UNKNOWN,
    RefusalReason.METRIC_UNKNOWN,
    RefusalReason.MECHANISM_MISMATCH,
    RefusalReason.DIMENSIONS_ILLEGAL,
    RefusalReason.WINDOW_ILLEGAL,
    RefusalReason.PAYLOAD_ILLEGAL,
]


@pytest.fixture
def rules(fleet):
    return Rules(fleet.shelf, "test-fleet", Watermark(fleet.clock.now_ms()))


def test_the_first_broken_rule_is_named(fleet, rules):
    """A report with every fault at once is refused by the rules one after the other as its faults are mended."""
    names = list(FAULTS)
    reasons = [
        admit(fleet.report(**{name: FAULTS[name] for name in names[mended:]}), None, rules).reason
        for mended in range(len(names))
    ]
    assert reasons == ORDER
    assert isinstance(admit(fleet.report(), None, rules), Admitted)


def test_a_stored_verdict_is_repeated_before_anything_but_the_version_is_looked_at(fleet, rules):
    """Seen before comes second."""
    faulty = {name: fault for name, fault in FAULTS.items() if name != "wire_version"}
    decision = admit(fleet.report(**faulty), Verdict.ACCEPTED, rules)
    assert (decision.reason, decision.verdict) == (RefusalReason.DUPLICATE, Verdict.ACCEPTED)
    assert admit(fleet.report(**FAULTS), Verdict.ACCEPTED, rules).reason is RefusalReason.WIRE_VERSION_UNKNOWN


def test_an_unknown_metric_name_is_not_kept(fleet, rules):
    """A sender cannot make rows of its own in the refusal counts."""
    assert admit(fleet.report(metric="invented"), None, rules).metric == ""
    assert admit(fleet.report(payload=b""), None, rules).metric == "any_trip"


@pytest.mark.parametrize(
    ("seconds_after_end", "reason"),
    [(-1, "WINDOW_NOT_BEGUN"), (0, None), (38 * 86_400 - 1, "WINDOW_TOO_LATE"), (35 * 86_400 + 3 * 3600, None)],
)
def test_window_edges(fleet, seconds_after_end, reason):
    """Admitted from the window's end to lateness + spread + late_horizon after it, both included."""
    now_ms = (fleet.window_start + 28 * 86_400 + seconds_after_end) * 1000
    decision = admit(fleet.report(), None, Rules(fleet.shelf, "test-fleet", Watermark(now_ms)))
    assert getattr(decision, "reason", None) == reason
