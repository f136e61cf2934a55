"""Known ids: what was added is known, until it is too old or there are too many."""

from hypothesis import example, given
from hypothesis import strategies as st

from device_bench import START
from discreet_agent import known_ids
from discreet_agent.known_ids import MOST_IDS, Digester, KnownIds, split_digests

DAY = 86_400


def digest(number):
    """Spread over all bits, as a hash is."""
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big")


def test_every_id_is_known_and_no_other():
    """Through small sorted lists, whole runs, and slots that several ids share."""
    known = KnownIds()
    for first in range(0, 120_000, 1500):
        known.add([digest(number) for number in range(first, first + 1500)], arrived=first)
    assert all(digest(number) in known for number in range(120_000))
    assert not any(digest(number) in known for number in range(120_000, 240_000))
    assert len(known) == 120_000


def test_beyond_the_bound_the_oldest_are_known_no_more():
    """Their marks go from the slots with them, and how many they were is counted."""
    known = KnownIds()
    for first in range(0, 900_000, 10_000):
        known.add([digest(number) for number in range(first, first + 10_000)], arrived=0)
    assert len(known) <= MOST_IDS
    assert known.dropped == 900_000 - len(known)
    assert all(digest(number) in known for number in range(900_000 - len(known), 900_000, 7))
    assert not any(digest(number) in known for number in range(0, 900_000 - len(known), 7))
    marked = sum(slot != 0 for slot in known._slots)
    assert marked <= MOST_IDS


@example(arrivals=[(0, 1), (2, 0), (3, 1)], age=0)
@given(arrivals=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=60), age=st.integers(0, 40))
def test_ids_are_forgotten_by_age_give_or_take_a_day(arrivals, age):
    """What came within the window is known; what came a day before it is not."""
    known, now, came = KnownIds(), 0, {}
    for number, (pause, count) in enumerate(arrivals):
        now += pause * DAY // 2
        digests = [digest(1000 * number + one) for one in range(count)]
        known.add(digests, now)
        came |= dict.fromkeys(digests, now)
    before = now - age * DAY // 4
    known.forget(before)
    for one, arrived in came.items():
        if arrived >= before:
            assert one in known
        elif arrived < before - 2 * DAY:
            assert one not in known


def test_ids_are_forgotten_though_no_other_came():
    """A device whose sender fell silent forgets as well."""
    known = KnownIds()
    known.add([digest(1)], 0)
    known.forget(DAY)
    assert digest(1) not in known
    assert len(known) == 0


def test_a_run_is_small_enough_to_be_merged_at_once():
    """Receiving must not wait for it."""
    assert known_ids._RUN_IDS <= 64_000


def test_senders_and_devices_know_an_id_by_different_digests():
    """No sender can claim another one's id, and no reader of two devices' files can compare them."""
    ours, other = Digester(b"a" * 32), Digester(b"b" * 32)
    made = {ours("", "x"), ours("app", "x"), ours("ap", "px"), other("", "x"), ours("", "y")}
    assert len(made) == 5
    assert ours("app", "x") == ours("app", "x")
    assert split_digests(ours("", "x") + ours("", "y")) == [ours("", "x"), ours("", "y")]


def test_ids_whose_events_are_gone_take_bounded_room_on_disk(bench, device):
    """A busy sender under a short retention: no more ids are kept than memory may hold, the latest ones."""
    bench.at(START + 10)
    with device.store.transaction():
        for number in range(30):
            device.store.seen.keep(START, number.to_bytes(8, "big") * 20_000)
    device.pipeline.forget()
    kept = [digests for _, digests in device.store.seen.kept()]
    assert sum(map(len, kept)) == 8 * MOST_IDS
    assert kept[-1][:8] == (29).to_bytes(8, "big")
