"""Whether senders keep what the policy's contracts promise: refused share and latency."""

import msgspec
import pytest

from device_bench import START, make_policy, opening
from discreet_agent.contracts import DAY_MS, Contracts
from discreet_agent.steps.admit import CONTRACTS_MS

NOW = START * 1000
SIGNAL = "door.opened"


def policy(terms="latency: 10s, max_refused: 0.1"):
    return make_policy(edits=(("lateness: 1m", f"lateness: 1m\ncontracts:\n  {SIGNAL}: {{{terms}}}"),))


def contracts(terms="latency: 10s, max_refused: 0.1", kept=None):
    return Contracts(policy(terms).policy, NOW, kept)


def judged(observed, at=NOW):
    return observed.describe(at)[SIGNAL]


def test_without_events_nothing_is_judged():
    assert judged(contracts()) == {
        "events": 0,
        "refused": 0,
        "refused_share": None,
        "latency_p95_ms": None,
        "kept": None,
        "why": "nothing came in yet",
    }


def test_a_signal_without_a_contract_is_not_observed():
    free = Contracts(make_policy().policy, NOW)
    free.accept(SIGNAL, NOW, NOW)
    free.refuse(SIGNAL, NOW)

    assert not free
    assert free.describe(NOW) == {}


@pytest.mark.parametrize(("refused", "kept"), [(0, True), (10, True), (11, False)])
def test_the_refused_share_is_held_to_the_promise(refused, kept):
    """Exactly the promised share is kept."""
    seen = contracts("max_refused: 0.1")
    for number in range(100):
        seen.refuse(SIGNAL, NOW) if number < refused else seen.accept(SIGNAL, NOW, NOW)
    told = judged(seen)

    assert (told["refused_share"], told["kept"]) == (refused / 100, kept)
    assert told["why"] == ("as promised" if kept else "11 of 100 events refused, at most 10 % promised")


@pytest.mark.parametrize(("late", "kept"), [(0, True), (5, True), (6, False)])
def test_ninety_five_of_a_hundred_come_in_time(late, kept):
    """A millisecond beyond the promise is late."""
    seen = contracts("latency: 10s")
    for number in range(100):
        seen.accept(SIGNAL, NOW - (10_001 if number < late else 10_000), NOW)
    told = judged(seen)

    assert told["kept"] is kept
    assert told["why"] == ("as promised" if kept else "6 of 100 events came later than 10s, at most 5 % may")
    assert told["latency_p95_ms"] == 16_000


@pytest.mark.parametrize(
    ("late_ms", "at_most"), [(-5000, 125), (0, 125), (124, 125), (125, 250), (999, 1000), (1000, 2000), (10**12, None)]
)
def test_the_shown_latency_is_the_upper_edge_of_a_doubling_bucket(late_ms, at_most):
    """An event ahead of the clock is not late at all; the last bucket has no end worth the name."""
    seen = contracts()
    seen.accept(SIGNAL, NOW - late_ms, NOW)

    assert judged(seen)["latency_p95_ms"] == (at_most or 125 << 27)


def test_one_bad_event_in_twenty_does_not_set_the_figure():
    seen = contracts()
    for number in range(20):
        seen.accept(SIGNAL, NOW - (3_600_000 if number == 0 else 100), NOW)

    assert judged(seen)["latency_p95_ms"] == 125


def test_what_is_observed_is_forgotten_after_two_days():
    """Today's and yesterday's; a contract that was broken once is not broken for ever."""
    seen = contracts()
    seen.refuse(SIGNAL, NOW)

    assert judged(seen, NOW + DAY_MS - 1)["kept"] is False
    assert judged(seen, NOW + DAY_MS)["refused"] == 1
    assert judged(seen, NOW + 2 * DAY_MS)["kept"] is None


def test_a_long_silence_leaves_nothing_either():
    seen = contracts()
    seen.refuse(SIGNAL, NOW)

    assert judged(seen, NOW + 5 * DAY_MS)["events"] == 0


def test_a_clock_set_back_begins_anew():
    seen = contracts()
    seen.refuse(SIGNAL, NOW)

    assert judged(seen, NOW - 1)["events"] == 0


def test_observations_are_kept_while_the_promise_about_latency_stays():
    """What was in time under another promise says nothing about this one."""
    seen = contracts()
    seen.accept(SIGNAL, NOW - 500, NOW)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(seen.to_keep()))

    assert judged(contracts("latency: 10s, max_refused: 0.5", kept))["events"] == 1
    assert judged(contracts("latency: 9s, max_refused: 0.1", kept))["events"] == 0


@pytest.mark.parametrize("kept", [None, 7, {"door.opened": {}}, {"door.opened": {"latency": "10s", "since_ms": "x"}}])
def test_a_row_of_another_form_is_as_good_as_none(kept):
    assert judged(contracts(kept=kept))["events"] == 0


def test_the_pipeline_observes_and_remembers(bench):
    """A duplicate came before, a correction is no event; the row is written now and then, and only with news."""
    bench.policy = policy()
    device = bench.open()
    lines = [opening(START - 1, id="a"), opening(START - 1, id="a"), opening(START, fields={}), opening(START)]
    device.pipeline.record([*lines, opening(START, retracts="a"), opening(START, signal="not.declared")])
    told = device.pipeline.admission.contracts()[SIGNAL]
    assert (told["events"], told["refused"], told["kept"]) == (3, 1, False)

    bench.clock.ms += CONTRACTS_MS
    device.pipeline.forget()
    device = bench.open()
    assert device.pipeline.admission.contracts()[SIGNAL] == told
    changes = device.store.connection.total_changes
    bench.clock.ms += CONTRACTS_MS
    device.pipeline._recording.write_refusals()
    assert device.store.connection.total_changes == changes


def test_contracts_go_on_under_a_policy_that_keeps_them(bench):
    bench.policy = policy()
    device = bench.open()
    device.pipeline.record([opening(START, fields={})])
    device.pipeline.adopt(policy("latency: 10s, max_refused: 1.0"))

    assert device.pipeline.admission.contracts()[SIGNAL]["kept"] is True
