"""Exact checks: the odds as fractions, the largest ratio against e^ε, the charge against both. Nothing is sampled.

A mechanism with few cells (values × outputs) is enumerated whole. A larger one is looked at in
its extreme values and in outputs around them, and the finding says how many that were. Of a
memoised mechanism it is the permanent response that counts, as often as a lifetime draws it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

from discreet_contract.accounting import NANO, to_nano
from discreet_contract.audit.findings import Check, Finding, judged
from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.memoised import MemoisedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discreet_contract.mechanisms.mechanism import Mechanism
    from discreet_contract.policy.plan import MetricPlan

CELLS = 30_000
_DIGITS = 60
_ROUNDING = Decimal("1e-40")  # of sixty digits; an ε that is off in its last bit is off by more than 1e-17
_FAR_ABOVE = 1e-3  # share of ε that noise may be stronger than declared
_VALUES = 8
_OUTPUTS = 400


@dataclass(frozen=True, slots=True)
class Enumerated:
    """What the odds say: the loss in ε, and which cells were looked at."""

    loss: Decimal
    worst_sum: Fraction  # largest distance of a row's sum from 1; 0 where rows were too long to sum
    values: int
    outputs: int
    is_whole: bool

    def __str__(self) -> str:
        extent = "all" if self.is_whole else "picked"
        return f"{self.values:,} values × {self.outputs:,} outputs, {extent}"


def enumerate_odds(mechanism: Mechanism, cells: int = CELLS) -> Enumerated:
    """Largest ln of a ratio in any column of the odds table, rows being values."""
    outputs = mechanism.outputs()
    values, is_all = domain_of(mechanism, cells // len(outputs) + 1)
    is_whole = is_all and len(values) * len(outputs) <= cells
    rows = values if is_whole else _picked(values, _VALUES)
    sums_all = len(rows) * len(outputs) <= cells
    columns: Sequence[int] = outputs if sums_all else _around(rows, outputs)
    odds, draws = _lifetime_odds(mechanism)
    table = [[odds(value, noised) for noised in columns] for value in rows]
    worst_sum = max(abs(sum(row, Fraction(-1))) for row in table) if sums_all else Fraction(0)
    return Enumerated(draws * _largest_loss(table), worst_sum, len(rows), len(columns), is_whole)


def domain_of(mechanism: Mechanism, at_most: int) -> tuple[Sequence[int], bool]:
    """The mechanism's values, and whether these are all: of what is no range only the first `at_most`."""
    values = mechanism.domain()
    if isinstance(values, range):
        return values, True
    first = tuple(itertools.islice(values, at_most + 1))
    return first[:at_most], len(first) <= at_most


def _lifetime_odds(mechanism: Mechanism) -> tuple[Callable[[int, int], Fraction], int]:
    """Odds that what is charged pays for, and how often it pays for a draw of them."""
    if isinstance(mechanism, MemoisedResponse):
        return mechanism.permanent_probability, mechanism.draws
    return mechanism.probability, 1


def check_odds(plan: MetricPlan, odds: Enumerated) -> Finding:
    """Rows are odds, and the loss is at most the declared ε, to the last bit."""
    with localcontext(prec=_DIGITS):
        above = odds.loss - Decimal(plan.metric.epsilon)
    return judged(
        plan.name,
        Check.ODDS,
        f"declared ε {plan.metric.epsilon:g}, exact loss {_beside(above)} ({odds})",
        holds=above <= _ROUNDING and odds.worst_sum <= Fraction(_ROUNDING),
        declared=plan.metric.epsilon,
        exact=float(odds.loss),
        above_by=float(above),
        worst_sum=float(odds.worst_sum),
        cells=str(odds),
    )


def check_charge(plan: MetricPlan, odds: Enumerated) -> Finding:
    """Loss ≤ charge ≤ ε, and ε not far above the loss: then noise would cost accuracy for nothing."""
    charge, declared = plan.mechanism.charge(), plan.metric.epsilon
    with localcontext(prec=_DIGITS):
        covers = Decimal(charge) >= odds.loss * NANO * (1 - _ROUNDING)
        near = Decimal(declared) - odds.loss <= Decimal(declared) * Decimal(_FAR_ABOVE)
    # Of picked cells the largest ratio may have been missed, but for discrete Laplace: it lies at both ends.
    can_tell = odds.is_whole or isinstance(plan.mechanism, DiscreteLaplace)
    return judged(
        plan.name,
        Check.CHARGE,
        f"{charge / NANO:.9f} a report, exact loss {float(odds.loss):.9f}",
        holds=covers and charge <= to_nano(declared) and (near or not can_tell),
        charged_nano=charge,
        declared_nano=to_nano(declared),
        exact=float(odds.loss),
    )


def _largest_loss(table: Sequence[Sequence[Fraction]]) -> Decimal:
    worst = Fraction(1)
    for column in zip(*table, strict=True):
        low, high = min(column), max(column)
        if low <= 0 < high:
            return Decimal("Infinity")
        if low > 0:
            worst = max(worst, high / low)
    with localcontext(prec=_DIGITS):
        return (Decimal(worst.numerator) / Decimal(worst.denominator)).ln()


def _picked(items: Sequence[int], count: int) -> list[int]:
    """Both ends, their neighbours, and some evenly between."""
    last = len(items) - 1
    places = {0, 1, last - 1, last, *(last * step // (count - 1) for step in range(count))}
    return [items[place] for place in sorted(places) if 0 <= place <= last]


def _around(rows: Sequence[int], outputs: range) -> list[int]:
    """Outputs at both ends, at each value, and evenly between."""
    near = {value + step for value in rows for step in (-1, 0, 1)}
    return sorted({*_picked(outputs, _OUTPUTS), *(noised for noised in near if noised in outputs)})


def _beside(above: Decimal) -> str:
    if abs(above) <= _ROUNDING:
        return "the same"
    return f"higher by {above:.1e}" if above > 0 else f"lower by {-above:.1e}"
