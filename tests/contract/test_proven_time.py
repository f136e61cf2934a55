"""What is proven of time, and how far a wall clock is believed."""

from hypothesis import given
from hypothesis import strategies as st

from device_bench import MachineClock
from discreet_contract.proven_time import SLACK_MS, ProvenTime

DAY = 86_400
START_MS = 1_700_006_400_000


def start(clock):
    return ProvenTime.nothing(clock).learn(clock.true_ms, clock.now_ms())


def test_before_anything_is_learnt_only_the_uptime_is_proven():
    """A clock without a signed time is believed for nothing."""
    clock = MachineClock()
    proven = ProvenTime.nothing(clock)
    assert (proven.ms, proven.signed_ms) == (60_000, 0)
    assert proven.believe(clock.now_ms()) == 60_000 + SLACK_MS


def test_a_right_clock_is_believed():
    """While it runs, and after a night off."""
    clock = MachineClock()
    proven = start(clock)
    clock.wait(90 * DAY)
    assert proven.at(clock).believe(clock.now_ms()) == clock.now_ms()
    proven = proven.at(clock)
    clock.reboot(off_seconds=DAY / 3)
    assert proven.at(clock).believe(clock.now_ms()) == clock.now_ms()


def test_within_a_boot_belief_grows_with_the_counter_alone():
    """A clock that jumps ahead gains nothing until the next boot."""
    clock = MachineClock()
    proven = start(clock)
    clock.set_wall(20 * DAY)
    clock.wait(5)
    assert proven.at(clock).believe(clock.now_ms()) == START_MS + 5000


def test_a_clock_set_back_is_taken_at_its_word_and_costs_nothing_later():
    """What it says is over is over; when it is right again, it is believed again."""
    clock = MachineClock()
    proven = start(clock)
    clock.set_wall(-365 * DAY)
    proven = proven.at(clock)
    assert proven.believe(clock.now_ms()) == clock.now_ms()
    clock.set_wall(0)
    clock.wait(DAY)
    assert proven.at(clock).believe(clock.now_ms()) == clock.now_ms()


def test_a_newer_signed_time_lets_the_clock_be_believed_again():
    """After a long time off, which nobody can prove otherwise."""
    clock = MachineClock()
    proven = start(clock)
    clock.reboot(off_seconds=100 * DAY)
    assert proven.at(clock).believe(clock.now_ms()) == START_MS + SLACK_MS
    learnt = proven.at(clock).learn(clock.true_ms - 3 * DAY * 1000, clock.now_ms())
    assert learnt.believe(clock.now_ms()) == clock.now_ms()


def test_a_signed_time_mends_a_wrong_one():
    """The signers' clock was a year ahead once: a later head says so."""
    clock = MachineClock()
    proven = ProvenTime.nothing(clock).learn(START_MS + 365 * DAY * 1000, clock.now_ms())
    assert proven.limit_ms > START_MS + 360 * DAY * 1000 or proven.ms > START_MS
    mended = proven.learn(START_MS, clock.now_ms())
    assert (mended.ms, mended.limit_ms <= START_MS + SLACK_MS) == (START_MS, True)


def test_an_older_signed_time_in_the_post_takes_nothing_back():
    """A head may arrive days after it was signed."""
    clock = MachineClock()
    proven = start(clock)
    clock.wait(10 * DAY)
    learnt = proven.at(clock).learn(START_MS + 7 * DAY * 1000, clock.now_ms())
    assert learnt.ms == START_MS + 10 * DAY * 1000


def test_a_later_head_mends_what_a_wrong_beacon_proved():
    """The aggregator's clock was a year ahead; with the head only the counter's word remains, also after a boot."""
    clock = MachineClock()
    proven = start(clock).reach(START_MS + 365 * DAY * 1000, clock.now_ms())
    clock.wait(10 * DAY)
    proven = proven.at(clock)
    assert proven.ms > START_MS + 365 * DAY * 1000
    clock.set_wall(300 * DAY)
    learnt = proven.learn(START_MS + 7 * DAY * 1000, clock.now_ms())
    assert learnt.ms == START_MS + 10 * DAY * 1000
    clock.reboot()
    assert learnt.at(clock).believe(clock.now_ms()) == learnt.ms + SLACK_MS


def test_a_right_beacon_is_believed_until_the_next_head_and_again_after_it():
    """A clock that was right all the time is believed throughout."""
    clock = MachineClock()
    proven = start(clock)
    clock.reboot(off_seconds=100 * DAY)
    for signed_ms in (None, clock.true_ms - 3 * DAY * 1000):
        if signed_ms is not None:
            proven = proven.learn(signed_ms, clock.now_ms())
            assert proven.believe(clock.now_ms()) == clock.now_ms()
        proven = proven.at(clock).reach(clock.true_ms, clock.now_ms())
        assert (proven.ms, proven.believe(clock.now_ms())) == (clock.true_ms, clock.now_ms())


steps = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 40 * DAY)),
    st.tuples(st.just("reboot"), st.integers(0, 400 * DAY)),
    st.tuples(st.just("wall"), st.sampled_from([-365, -28, -1, 0, 1, 27, 28, 29, 365, 3650])),
    st.tuples(st.just("walk"), st.integers(1, 28)),
    st.tuples(st.just("signed"), st.integers(0, 40 * DAY)),
    st.tuples(st.just("beacon"), st.integers(0, 40 * DAY)),
    st.tuples(st.just("forgotten"), st.just(0)),
)


@given(st.lists(steps, max_size=40))
def test_nothing_moves_belief_further_than_the_slack_beyond_true_time(moves):
    """Whatever is done to clock, machine and what was saved, in whatever order."""
    clock = MachineClock()
    proven = saved = start(clock)
    signed_ms = proven.signed_ms
    for move, amount in moves:
        match move:
            case "wait":
                clock.wait(amount)
            case "reboot":
                clock.reboot(off_seconds=amount)
            case "wall":
                clock.set_wall(amount * DAY)
            case "walk":
                clock.wrong_ms += amount * DAY * 1000
            case "signed":  # heads are signed by a right clock, and arrive late
                signed_ms = max(signed_ms, clock.true_ms - amount * 1000)
                proven = proven.at(clock).learn(signed_ms, clock.now_ms())
                saved = proven
            case "beacon":  # the aggregator's clock is right, the broker keeps what it said
                proven = proven.at(clock).reach(clock.true_ms - amount * 1000, clock.now_ms())
            case "forgotten":
                proven = saved
        proven = proven.at(clock)

        assert proven.ms <= clock.true_ms
        assert proven.limit_ms <= proven.ms + SLACK_MS
        assert proven.believe(clock.now_ms()) <= min(clock.now_ms(), clock.true_ms + SLACK_MS)
