"""Fixed point: sums of numbers of any declared size are right to twelve digits, in any order."""

import pytest

from discreet_agent.event import Event
from discreet_agent.features.sums import PRECISION_BITS, Sum, scale_of


@pytest.mark.parametrize("bound", [1e-290, 1e-9, 1.0, 86_400.0, 1e15, 1e150, 1e300])
def test_a_sum_is_right_whatever_its_bounds(bound):
    """One event more or less is one number more or less."""
    aggregate = Sum("n", scale_of(-bound, bound))
    numbers = [bound * share for share in (0.9, -0.5, 0.125, 1.0, -0.3)]
    events = [Event("s", "1-0-0", 0, {"n": number}) for number in numbers]
    one_way, other_way = None, None
    for event in events:
        one_way = aggregate.add(one_way, 0, [event])
    other_way = aggregate.add(other_way, 0, events[::-1])
    assert one_way == other_way
    value, _ = aggregate.read([(0, one_way)], 0)
    assert value == pytest.approx(sum(numbers), rel=5 * 2.0 ** -(PRECISION_BITS - 2))
    left = aggregate.remove(one_way, 0, events[0])
    assert aggregate.read([(0, left)], 0)[0] == pytest.approx(
        sum(numbers[1:]), abs=bound * 2.0 ** -(PRECISION_BITS - 4)
    )
