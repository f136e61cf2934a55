"""Score intervals of labels, by the exact odds of every count: few devices, many labels, weak and strong noise (P8).

A label's count is the sum of two binomials, so coverage is a finite sum: nothing is drawn, and no false alarm is
possible. Least coverage measured here: 0.9433 (five categories at ε = 10, 100 of 1,000 devices).
"""

import numpy as np
import pytest
from scipy import stats

from discreet_contract.mechanisms.catalogue import build

LEVEL = 0.95
FLOOR = 0.94
CASES = [(name, epsilon, k) for name in ("krr-1", "llh-1") for epsilon in (0.05, 0.5, 2, 6, 10, 16) for k in (5, 128)]
CASES += [("krr-1", epsilon, 1024) for epsilon in (0.5, 1, 8, 10)] + [("sss-1", 8, 128), ("msel-krr-1", 2, 1024)]


def exact_coverage(support, devices, holders):
    """Probability that the interval holds the true share."""
    own = stats.binom.pmf(np.arange(holders + 1), holders, support.own)
    other = stats.binom.pmf(np.arange(devices - holders + 1), devices - holders, support.other)
    ends = support.interval(list(range(devices + 1)), devices, LEVEL)
    truth = holders / devices
    held = np.array([end.low <= truth + 1e-12 and truth - 1e-12 <= end.high for end in ends])
    return float(np.convolve(own, other)[held].sum())


@pytest.mark.parametrize(("name", "epsilon", "k"), CASES)
def test_every_count_and_share_is_covered(name, epsilon, k):
    """Also where hardly a report names the label, so that its count is mostly 0."""
    support = build(name, epsilon, tuple(map(str, range(k))), (0, 1), at_most=3).support
    found = {
        (devices, holders): exact_coverage(support, devices, holders)
        for devices in (1, 5, 50, 200, 1000)
        for holders in {0, 1, devices // 50, devices // 10, devices // 2, devices - 1, devices}
    }

    assert {cell: held for cell, held in found.items() if held < FLOOR} == {}
