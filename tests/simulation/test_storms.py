"""A fleet of 10,000 that loses its broker, or closes a window at midnight, does not stampede.

The device's own waits run on a clock of their own. Connections arrive as independent draws, so that the busiest second
of a phase with mean m a second is a largest Poisson count: with m = 667 it passes 1.4 · m with odds under 1e-6 in all.
"""

import secrets
from collections import Counter

from discreet_contract.broker import Broker
from discreet_contract.reconnect import CAP_SECONDS, FIRST_SECONDS, Waits

DEVICES = 10_000
CONNECTED_FOR = 3600.0


def attempts_per_second(away_seconds):
    """Connection attempts a second from the moment the broker goes, and the second at which the last device is back."""
    attempts, back = Counter(), 0.0
    broker = Broker("mqtts://broker.example")
    for _ in range(DEVICES):
        waits = Waits.of(broker)
        now = waits.after(CONNECTED_FOR)
        while now < away_seconds:
            attempts[int(now)] += 1
            now += waits.after(0.0)
        attempts[int(now)] += 1
        back = max(back, now)
    return attempts, back


def test_a_restarted_broker_is_come_back_to_over_the_first_wait():
    """Away for a tenth of a second: the whole fleet within 15 s, no second with more than 1.4 times its mean."""
    attempts, back = attempts_per_second(0.1)
    assert back <= FIRST_SECONDS + 0.1 + 2 * FIRST_SECONDS
    assert max(attempts.values()) <= 1.4 * DEVICES / FIRST_SECONDS


def test_an_hour_without_a_broker_ends_without_a_rush():
    """While it is away each device asks twice a minute on average, and the return is no busier than that."""
    attempts, back = attempts_per_second(3600.0)
    mean = DEVICES / (CAP_SECONDS / 2)
    assert back <= 3600.0 + CAP_SECONDS
    assert max(attempts[second] for second in range(600, 3661)) <= 1.5 * mean


def test_midnight_is_spread():
    """A window closes everywhere at once; each report waits for its own moment within `spread`, here an hour.

    2.78 a second on average. A Poisson second over 20 has odds of 4e-12, the hour 1.4e-8.
    """
    spread_ms = 3_600_000
    publications = Counter(secrets.randbelow(spread_ms + 1) // 1000 for _ in range(DEVICES))
    assert max(publications.values()) <= 20
