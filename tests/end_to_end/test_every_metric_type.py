"""Every metric type of the policy language on the demonstration's path, from events to figures."""

from every_metric import METRICS, START, people, policy_text, truth
from replaying import Replay

DEVICES = 150
EPSILON = 6.0  # strong enough that 150 devices would show a fault; weak enough that all noise is there
STANDARD_ERRORS = 6.0  # two-sided 2e-9 for a normal figure; some 80 figures


def test_every_metric_type_reaches_its_truth(tmp_path):
    """A hundred and fifty real devices replayed; every label of every metric lies near its truth, nothing is lost."""
    replay = Replay(tmp_path, lambda public: policy_text(public, EPSILON))
    fleet = people(DEVICES, seed=7)
    devices = [{"device": f"d{number}", "lines": [play.line() for play in plays]} for number, plays in enumerate(fleet)]
    totals, rows = replay.run(devices, START)

    assert totals["reports_made"] == totals["reports_settled"] == DEVICES * len(METRICS)
    assert {row["metric"] for row in rows} == set(METRICS)
    assert {row["devices"] for row in rows} == {DEVICES}
    check_figures(rows, truth(fleet))


def check_figures(rows, wanted):
    """Each figure with a standard error lies within six of them around its truth; quantiles lie in their range."""
    far = []
    for row in rows:
        if row["standard_error"] is None:
            assert row["low"] <= row["estimate"] <= row["high"]
            continue
        distance = abs(row["estimate"] - wanted.get((row["metric"], row["label"]), 0.0))
        if distance > STANDARD_ERRORS * row["standard_error"]:
            far.append((row["metric"], row["label"], row["estimate"], row["standard_error"]))
    assert far == []
    labels = {(row["metric"], row["label"]) for row in rows}
    missing = {key for key in wanted if key not in labels and key != ("title", "unlisted")}
    assert missing == set()
    assert {"median", "p90"} <= {row["label"] for row in rows if row["metric"] == "seconds"}
