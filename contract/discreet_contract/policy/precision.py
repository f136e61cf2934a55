"""What figures will be worth: interval width, smallest detectable effect, and devices needed, from a policy alone.

Everything is the mechanism's own `expected_error`, the worst case over true values, in the unit
that a reader is shown. Metrics that take turns (`rotate`) share the fleet: in each window a
device reports one of its group.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from discreet_contract.mechanisms.mechanism import z_score
from discreet_contract.policy.explain_render import plain
from discreet_contract.policy.plan import plan_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan

LEVEL = 0.95
POWER = 0.8
MOST_DEVICES = 10**12


@dataclass(frozen=True, slots=True)
class Expected:
    """One metric at so many devices; widths and effects in the unit shown."""

    metric: str
    mechanism: str
    epsilon: float
    devices: int  # that report it in one window
    width: float  # of the 95% interval, low end to high end, mechanism noise only
    effect: float  # smallest difference of two equal arms found with 80% power at 5% two-sided
    withheld_below: int
    unit: str

    @property
    def is_withheld(self) -> bool:
        """Whether no figure would be shown."""
        return self.devices < self.withheld_below


def expect(policy: Policy, devices: int) -> list[Expected]:
    """Every metric of a compiled policy, for a fleet of so many devices."""
    return [_expected(plan, devices // _turns(policy, plan)) for plan in plan_metrics(policy).values()]


def devices_needed(policy: Policy, width: float) -> dict[str, int | None]:
    """Metric → size of the fleet at which its interval is at most so wide and is shown; None: beyond 10¹² devices."""
    needed: dict[str, int | None] = {}
    for name, plan in plan_metrics(policy).items():
        reporting = _reporting_for(plan, width)
        needed[name] = None if reporting is None else reporting * _turns(policy, plan)
    return needed


def interval_width(plan: MetricPlan, devices: int) -> float:
    """Full width of the interval: twice z times the standard error."""
    return 2 * z_score(LEVEL) * plan.mechanism.expected_error(devices) * _scale(plan)


def smallest_effect(plan: MetricPlan, devices: int) -> float:
    """(z₀.₉₇₅ + z₀.₈)·√(2·(noise² + range²/4)/n), n devices an arm.

    Each arm's mean has the mechanism's noise and the sampling error of its devices' true values;
    of values within a range the variance is at most range²/4 (Popoviciu 1935).
    """
    arm = devices // 2
    if arm < 1:
        return math.inf
    noise, sampling = plan.mechanism.expected_error(arm) ** 2, _range(plan) ** 2 / 4 / arm
    return (z_score(LEVEL) + NormalDist().inv_cdf(POWER)) * math.sqrt(2 * (noise + sampling)) * _scale(plan)


def plan_text(expected: Sequence[Expected], needed: Mapping[str, int | None] | None, width: float | None) -> str:
    """A table; the last column only where a width was asked for."""
    head = ["metric", "mechanism", "ε", "devices a window", "95% interval width", "smallest effect", "unit"]
    rows = [head + ([] if needed is None else [f"devices for a width of {width:g}"])]
    for one in expected:
        shown = f"{one.width:.4g}" + (f" (withheld below {one.withheld_below:,})" if one.is_withheld else "")
        cells = [one.metric, one.mechanism, f"{one.epsilon:g}", f"{one.devices:,}", shown, f"{one.effect:.4g}"]
        rows.append([*cells, plain(one.unit) or "-", *([] if needed is None else [_count(needed[one.metric])])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def plan_facts(
    expected: Sequence[Expected], needed: Mapping[str, int | None] | None, width: float | None
) -> dict[str, Any]:
    """The same for programs; `devices_needed` is null where no width was asked for."""
    metrics = [
        {
            **asdict(one),
            "effect": one.effect if math.isfinite(one.effect) else None,
            "is_withheld": one.is_withheld,
            "devices_needed": None if needed is None else needed[one.metric],
        }
        for one in expected
    ]
    return {"level": LEVEL, "power": POWER, "width": width, "metrics": metrics}


def _expected(plan: MetricPlan, devices: int) -> Expected:
    reporting = max(devices, 1)
    return Expected(
        metric=plan.name,
        mechanism=plan.mechanism.id,
        epsilon=plan.metric.epsilon,
        devices=devices,
        width=interval_width(plan, reporting),
        effect=smallest_effect(plan, reporting),
        withheld_below=plan.metric.min_devices,
        unit=plan.metric.display.unit,
    )


def _reporting_for(plan: MetricPlan, width: float) -> int | None:
    """Smallest number of reports at which the interval is narrow enough; errors only fall with more of them."""
    least = plan.metric.min_devices
    if interval_width(plan, MOST_DEVICES) > width:
        return None
    low, high = least - 1, MOST_DEVICES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if interval_width(plan, middle) <= width else (middle, high)
    return high


def _turns(policy: Policy, plan: MetricPlan) -> int:
    """Metrics that take turns with this one, itself among them."""
    turn = plan.metric.rotate
    return 1 if turn is None else sum(metric.rotate == turn for metric in policy.metrics.values())


def _scale(plan: MetricPlan) -> float:
    return plan.step / plan.metric.display.divide


def _range(plan: MetricPlan) -> float:
    """Of what is averaged: a value within its bounds, or a share."""
    return float(plan.high - plan.low) if len(plan.mechanism.labels) == 1 else 1.0


def _count(devices: int | None) -> str:
    return "over 10¹²" if devices is None else f"{devices:,}"
