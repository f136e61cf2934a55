"""A fleet in an experiment on the demonstration's path: the aggregator's cells carry arm and platform, and no more."""

from collections import Counter

from discreet_agent.identity import read_identity
from discreet_contract.assignment import assignment_key, draw_arm, layer_position
from every_metric import POLICY, START, WINDOW, people
from replaying import Replay

DEVICES = 80
KIOSKS = 4
STANDARD_ERRORS = 6.0  # two-sided 2e-9 for a normal figure; four figures
SALT = "rows-2023-x7qk"
ARMS = {"personal": 50, "editorial": 50}
COMMON = "from: played, per_device: any, type: binary, window: 28d, epsilon: 6.0, owner: a@b.c, why: tests"
PARTS = f"""
  plays: {{{COMMON}, min_devices: 1, by: [experiments]}}
  days: {{{COMMON.replace("any", "active_days").replace("binary", "count")}, bounds: [0, 28], min_devices: 1,
    by: [experiments]}}
  machines: {{{COMMON}, min_devices: 5, by: [platform]}}
flags:
  rows: {{state: ENABLED, variants: {{personal: p, editorial: e}}, defaultVariant: editorial}}
layers: {{rows: {{holdout: 10%, why: tests}}}}
experiments:
  rows-2023:
    hypothesis: In tests, whoever sees rows of its own plays on more days of four weeks than the others.
    layer: rows
    algorithm: blake2b-1
    salt: {SALT}
    arms: {{personal: 50, editorial: 50}}
    traffic: 80%
    flag: rows
    start: 2023-09-28
    end: 2023-11-01
    primary: plays
    guardrails: [days]
    enrol: {{"!=": [{{var: platform}}, kiosk]}}
"""


def policy_text(public_key):
    """The experiment holds the second window wholly, and a part of the third."""
    return POLICY.format(public_key=public_key, genres="g0, g1") + PARTS


def device(number, plays):
    platform = "kiosk" if number < KIOSKS else "linux"
    lines = [play.line() | {"fields": play.line()["fields"] | {"genre": "g0"}} for play in plays]
    shifted = [line | {"time": line["time"] + WINDOW * 1000} for line in lines]
    return {"device": f"d{number}", "platform": platform, "lines": [*lines, *shifted]}


def arm_of(folder, number):
    """What anyone can work out who has the secret; None for those who take no part."""
    key = assignment_key(read_identity(folder / "devices" / f"d{number}").secret)
    is_in = number >= KIOSKS and layer_position(key, "rows") < 8000
    return draw_arm(key, SALT, ARMS) if is_in else None


def cells(rows, metric, window):
    """Arm or platform → devices, of one metric in one window."""
    begin = f"2023-{'08-31' if window == 0 else '09-28'}T00:00:00Z"
    return {
        next(iter(row["dimensions"].items()), None): row["devices"]
        for row in rows
        if row["metric"] == metric and row["window_start"] == begin
    }


def test_cells_carry_the_arms_that_devices_are_in(tmp_path):
    """Arms in the window that the experiment holds, on its metrics; each cell has exactly its devices."""
    replay = Replay(tmp_path, policy_text)
    fleet = people(DEVICES, seed=11)
    totals, rows = replay.run([device(*one) for one in enumerate(fleet)], START, windows=2)
    assert totals["reports_made"] == totals["reports_settled"] == 2 * 3 * DEVICES

    arms = [arm_of(tmp_path, number) for number in range(DEVICES)]
    expected = Counter(None if arm is None else ("experiments.rows-2023", arm) for arm in arms)
    for metric in ("plays", "days"):
        assert cells(rows, metric, 0) == {None: DEVICES}
        assert cells(rows, metric, 1) == expected
    check_figures(rows, arms, fleet)


def test_a_small_cell_is_withheld_by_itself(tmp_path):
    """`min_devices` is asked of each cell: four kiosks say nothing, the others do."""
    replay = Replay(tmp_path, policy_text)
    _, rows = replay.run([device(*one) for one in enumerate(people(20, seed=3))], START)
    withheld = {row["dimensions"]["platform"]: row["estimate"] for row in rows if row["metric"] == "machines"}
    assert withheld["kiosk"] is None
    assert withheld["linux"] is not None


def check_figures(rows, arms, fleet):
    """Each arm's figure lies near the truth of its own devices."""
    checked = 0
    for row in rows:
        arm = row["dimensions"].get("experiments.rows-2023")
        if arm is None or row["standard_error"] is None:
            continue
        members = [plays for plays, own in zip(fleet, arms, strict=True) if own == arm]
        said = [bool(plays) if row["metric"] == "plays" else days(plays) for plays in members]
        truth = sum(said) / len(said)
        if row["label"] == "no":
            truth = 1 - truth
        assert abs(row["estimate"] - truth) <= STANDARD_ERRORS * row["standard_error"], row
        checked += 1
    assert checked >= 4


def days(plays):
    return len({play.at // 86_400 for play in plays})
