"""P7: whatever changes in personalization while an experiment runs, assignments and metric definitions do not move."""

import pytest

from device_bench import Bench
from discreet_agent.trials.facts import Facts
from discreet_agent.trials.standing import draw_all
from discreet_contract.clock import ManualClock
from discreet_contract.policy.gate import Circumstances, release_problems
from personal_bench import FEATURES, NOW_MS, crashed, personal_policy, played, record

_TRIAL = """
layers: {playback: {why: one experiment}, more: {why: another one}}
experiments:
  trial:
    hypothesis: In tests, everybody takes part, and something moves by half within a day of the beginning.
    layer: playback
    algorithm: blake2b-1
    salt: trial-2023-x7qk
    arms: {"off": 50, "on": 50}
    traffic: 100%
    flag: autoplay
    start: 2023-11-01
    end: 2033-12-31
    primary: plays
    guardrails: [crashed]
"""
_FLAG = """
  autoplay:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting: {if: [{var: experiments.trial}, {var: experiments.trial}, "off"]}
"""
_METRICS = """
metrics:
  plays: {from: playback.stopped, per_device: count, type: count, bounds: [0, 9], window: 1d, epsilon: 1.0,
    by: [experiments], owner: a@b.c, why: in tests}
  crashed: {from: app.crashed, per_device: any, type: binary, window: 1d, epsilon: 1.0, by: [experiments],
    owner: a@b.c, why: in tests}
"""
BEFORE = f"""
scores: {{keen: {{kind: linear, weights: {{minutes: 1.0}}}}}}
segments: {{binge: {{when: {{">": [{{var: minutes}}, 3000]}}, min_stay: 1h}}}}
evaluators: {{keen: {{">": [{{var: scores.keen}}, 10]}}}}
flags:
  rows: {{state: ENABLED, variants: {{a: 1, b: 2}}, defaultVariant: a, targeting: {{if: [{{$ref: keen}}, b, a]}}}}
{_FLAG}
guards: {{crashes: {{from: app.crashed, flags: [rows], at_most: 2, window: 1h, why: in tests}}}}
{_TRIAL}
{_METRICS}
"""
AFTER = f"""
scores: {{keen: {{kind: logistic, bias: 3, weights: {{minutes: -1.0, idle: 2.0}}}}}}
segments: {{binge: {{when: {{"<": [{{var: idle}}, 30]}}}}, other: {{when: {{">": [{{var: scores.keen}}, 0.5]}}}}}}
evaluators: {{keen: {{in: [binge, {{var: segments}}]}}}}
flags:
  rows: {{state: ENABLED, variants: {{a: 3, b: 4}}, defaultVariant: b, targeting: {{if: [{{$ref: keen}}, a, b]}}}}
  newer: {{state: ENABLED, variants: {{a: x, b: y}}, defaultVariant: a}}
{_FLAG}
guards: {{crashes: {{from: app.crashed, flags: [rows, newer], at_most: 0, window: 2h, why: in tests}}}}
cohorts: {{here: {{platforms: [tv], why: in tests}}}}
{_TRIAL}
  second:
    hypothesis: In tests, another experiment of another layer begins in the middle of the first one.
    layer: more
    algorithm: blake2b-1
    salt: second-2023-k2ph
    arms: {{a: 50, b: 50}}
    traffic: 50%
    flag: newer
    start: 2023-11-20
    end: 2033-12-31
    primary: plays
{_METRICS}
"""
DAY = 86_400
DEVICES = 20_000
FACTS = Facts("tv", "2027.1", "2023-11-02")


def policy(rest, version, **features):
    return personal_policy(features=features, rest=rest, version=version)


OLD = policy(BEFORE, 1, minutes=FEATURES["seconds"], days=FEATURES["days"])
NEW = policy(AFTER, 2, minutes=FEATURES["seconds"] | {"window": "14d"}, idle=FEATURES["idle"])


def test_the_release_is_allowed():
    """None of it is what the experiment rests on."""
    assert release_problems(OLD.policy, NEW.policy, Circumstances(["aa", "bb"])) == []


def test_no_device_is_in_another_arm():
    """20,000 secrets under both policies."""
    for number in range(DEVICES):
        secret = number.to_bytes(32, "big")
        before, after = draw_all(OLD.policy, secret, FACTS), draw_all(NEW.policy, secret, FACTS)
        assert (before.arms.get("trial"), before.reasons.get("trial")) == (
            after.arms.get("trial"),
            after.reasons.get("trial"),
        )


def test_metric_definitions_stay():
    assert {name: plan.version for name, plan in OLD.plans.items()} == {
        name: NEW.plans[name].version for name in OLD.plans
    }


@pytest.mark.parametrize("changed", [False, True])
def test_a_window_in_which_everything_changed_reports_the_same(tmp_path, changed):
    """The value before noise, the arm, the schedule: with the change in the middle of the window and without."""
    bench = Bench(tmp_path, clock=ManualClock(NOW_MS), policy=OLD)
    device = bench.open()
    device.pipeline.personalize()
    device.pipeline.close_windows()
    whole = (NOW_MS // 1000 // DAY + 1) * DAY
    bench.at(whole + 100)
    record(device, played(whole + 50, seconds=100), crashed(whole + 60))
    if changed:
        device.pipeline.adopt(NEW)
        device.pipeline.personalize()
    record(device, played(whole + 90, seconds=30))
    states = {name: device.store.tallies.load(name, OLD.plans[name].version, whole) for name in ("plays", "crashed")}
    assert states == {"plays": 2, "crashed": [1]}
    scheduled = {name: device.store.tallies.scheduled(name).next_window for name in ("plays", "crashed")}
    assert scheduled == {"plays": whole, "crashed": whole}
    arm = device.pipeline.trials.arm_throughout("trial", whole, whole + DAY)
    first = draw_all(OLD.policy, device.pipeline._device.secret, FACTS).arms["trial"]
    assert arm == first
    bench.close()
