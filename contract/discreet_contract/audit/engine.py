"""Every check of every metric of a policy, in order; values in, findings out.

    per metric   odds → charge → bias → coverage
                 devices walk: silent, low, high, in turn until the time is up
                 lower bound → draws → spread → repeats → presence → names → ledger → resend

Which mechanisms and which device path are audited are arguments, so that a test can hand in
faulty ones. All random comparisons together fail by chance at most once in a million audits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from discreet_contract.accounting import NANO
from discreet_contract.audit.bound import Bound, log_ratio, lower_bound
from discreet_contract.audit.draws import gap, lanes, rarest_agreement, surprise, widths
from discreet_contract.audit.exact import CELLS, check_charge, check_odds, enumerate_odds
from discreet_contract.audit.findings import CHANCES, FALSE_ALARM, Check, Finding, judged, not_run
from discreet_contract.audit.form import check_ledger, check_presence, check_resend, is_memoised
from discreet_contract.audit.names import check_names
from discreet_contract.audit.odds import Odds, odds_of_value
from discreet_contract.audit.scenario import Neighbours, Script, neighbours
from discreet_contract.audit.simulate import simulate
from discreet_contract.audit.walk import Trace, Walk
from discreet_contract.clock import Clock, SystemClock
from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.policy.plan import plan_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.audit.device_path import DevicePath
    from discreet_contract.audit.odds import Noised
    from discreet_contract.audit.walk import PlanFactory
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan

SHOWN_ALPHA = 0.05  # the bound that people compare; the verdict takes a far smaller one
_WINDOWS = 2
_MEMOISED_WINDOWS = 12


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how closely to look."""

    seconds: float = 15.0  # for devices, shared by all metrics
    least_reports: int = 240  # of each neighbour and metric, however little time there is
    runs: int = 1000  # of each simulated fleet
    cells: int = CELLS  # of an odds table that is enumerated whole


DEEP = Effort(seconds=300.0, runs=20_000, cells=200_000)


def audit_policy(
    policy: Policy,
    path: DevicePath | None,
    effort: Effort,
    *,
    plans: PlanFactory = plan_metrics,
    clock: Clock | None = None,
) -> Iterator[Finding]:
    """Findings, metric by metric. Without a `path` only what needs no device is checked."""
    clock = SystemClock() if clock is None else clock
    declared = plans(policy)
    alpha = FALSE_ALARM / (max(len(declared), 1) * CHANCES)
    for name, plan in declared.items():
        odds = enumerate_odds(plan.mechanism, effort.cells)
        yield check_odds(plan, odds)
        yield check_charge(plan, odds)
        yield from simulate(plan, runs=effort.runs, alpha=alpha)
        if path is not None:
            pair = neighbours(plan, policy.signals[plan.metric.from_])
            windows = _MEMOISED_WINDOWS if is_memoised(plan) else _WINDOWS
            walk = Walk(policy, name, path, plans, windows, len(pair.high.events))
            until_ms = clock.boot_ms() + round(1000 * effort.seconds / len(declared))
            traces = _walked(walk, pair, clock, until_ms=until_ms, least=effort.least_reports)
            yield from _judge(plan, pair, traces, alpha)


def _walked(walk: Walk, pair: Neighbours, clock: Clock, *, until_ms: int, least: int) -> dict[str, list[Trace]]:
    """Traces of devices by role. Where a silent device is not itself one of the neighbours, one of it is enough."""
    scripts = {"silent": pair.low, "high": pair.high}
    traces: dict[str, list[Trace]] = {}
    if pair.low is not pair.silent:
        traces["silent"] = [walk.run(pair.silent)]
        scripts = {"low": pair.low, "high": pair.high}
    traces |= {role: [] for role in scripts}
    devices = -(-least // walk.reports_a_device)
    while clock.boot_ms() < until_ms or len(traces["high"]) < devices:
        for role, script in scripts.items():
            traces[role].append(walk.run(script))
    return traces


def _judge(plan: MetricPlan, pair: Neighbours, traces: dict[str, list[Trace]], alpha: float) -> Iterator[Finding]:
    sides = (traces.get("low") or traces["silent"], traces["high"])
    odds = (_declared(plan, pair.low), _declared(plan, pair.high))
    samples = (_samples(plan, sides[0]), _samples(plan, sides[1]))
    yield _bound(plan, pair, samples, odds, alpha)
    if is_memoised(plan):
        yield _lifetime(plan, sides, alpha)
    yield _draws(plan, samples, odds, alpha)
    if isinstance(plan.mechanism, DiscreteLaplace) and None not in (pair.low.value, pair.high.value):
        yield _spread(plan, samples, (pair.low.value or 0, pair.high.value or 0), alpha)
    if not is_memoised(plan):
        yield _repeats(plan, sides, odds, alpha)
    yield check_presence(plan, traces)
    yield check_names(plan, traces, alpha)
    yield check_ledger(plan, traces)
    yield check_resend(plan, traces)


def _declared(plan: MetricPlan, script: Script) -> Odds | None:
    return None if script.value is None else odds_of_value(plan.mechanism, script.value)


def _samples(plan: MetricPlan, traces: list[Trace]) -> Noised:
    """Independent reports: all of them, or of a memoised metric the first window's."""
    windows = slice(0, 1) if is_memoised(plan) else slice(None)
    return np.concatenate([trace.noised[:, windows].ravel() for trace in traces])


def _bound(
    plan: MetricPlan,
    pair: Neighbours,
    samples: tuple[Noised, Noised],
    odds: tuple[Odds | None, Odds | None],
    alpha: float,
) -> Finding:
    if pair.high is pair.low:
        return not_run(
            plan.name, Check.BOUND, "found no events that change this metric: every device is the silent one"
        )
    low, high = odds
    declared = None if low is None or high is None else (low, high)
    shown, certain = (lower_bound(*samples, one, declared) for one in (SHOWN_ALPHA, alpha))
    return _bound_finding(plan, Check.BOUND, shown, certain, plan.metric.epsilon, "reports")


def _lifetime(plan: MetricPlan, sides: tuple[list[Trace], list[Trace]], alpha: float) -> Finding:
    """All windows of one copy are one observation; its score is the sum of each report's seen log ratio."""
    low, high = (np.concatenate([trace.noised for trace in side]) for side in sides)
    first = low[::2].ravel(), high[::2].ravel()
    scores = [log_ratio(*first, side.ravel()).reshape(side.shape).sum(axis=1) for side in (low, high)]
    shown, certain = (lower_bound(scores[0], scores[1], one) for one in (SHOWN_ALPHA, alpha))
    charged = min(_charged_a_copy(trace) for side in sides for trace in side)
    return _bound_finding(plan, Check.LIFETIME, shown, certain, charged, f"series of {low.shape[1]} reports")


def _charged_a_copy(trace: Trace) -> float:
    return sum(nano * times for (_, nano), times in trace.charges.items()) / NANO / len(trace.noised)


def _bound_finding(plan: MetricPlan, check: Check, shown: Bound, certain: Bound, allowed: float, unit: str) -> Finding:
    return judged(
        plan.name,
        check,
        f"ε ≥ {shown.epsilon:.3f} at 95%, ≥ {certain.epsilon:.3f} but for odds of {certain.alpha:.0e};"
        f" allowed {allowed:g}; {2 * shown.likelier_of:,} + {2 * shown.rarer_of:,} {unit}",
        holds=certain.epsilon <= allowed,
        bound_95=shown.epsilon,
        bound=certain.epsilon,
        alpha=certain.alpha,
        allowed=allowed,
        likelier=[certain.likelier, certain.likelier_of],
        rarer=[certain.rarer, certain.rarer_of],
    )


def _draws(
    plan: MetricPlan, samples: tuple[Noised, Noised], odds: tuple[Odds | None, Odds | None], alpha: float
) -> Finding:
    followed = [(side, row) for side, row in zip(samples, odds, strict=True) if row is not None]
    if not followed:
        why = "too many outputs to compare with, or a value that this audit cannot foretell"
        return not_run(plan.name, Check.DRAWS, why)
    gaps = [look(side, row, alpha) for look in (gap, lanes) for side, row in followed]
    surprises = [surprise(some, alpha) for some in (followed, *([one] for one in followed))]
    widest, oddest = max(gaps, key=lambda one: one.part), max(surprises, key=lambda one: one.part)
    return judged(
        plan.name,
        Check.DRAWS,
        f"off by {widest.distance:.3f} in distribution (allowed {widest.allowed:.3f}),"
        f" {oddest.excess:+.3f} in mean surprise (allowed {oddest.least:+.3f} … {oddest.most:+.3f})",
        holds=all(one.holds for one in gaps) and all(one.holds for one in surprises),
        distance=widest.distance,
        distance_allowed=widest.allowed,
        surprise=oddest.excess if math.isfinite(oddest.excess) else None,
        surprise_allowed=[oddest.least, oddest.most],
        reports=[len(side) for side in samples],
    )


def _spread(plan: MetricPlan, samples: tuple[Noised, Noised], values: tuple[int, int], alpha: float) -> Finding:
    apart, allowed = widths(*samples, values, alpha)
    return judged(
        plan.name,
        Check.SPREAD,
        f"the two noises differ by {apart:.3f} in distribution (allowed {allowed:.3f})",
        holds=apart <= allowed,
        distance=apart,
        allowed=allowed,
    )


def _repeats(
    plan: MetricPlan, sides: tuple[list[Trace], list[Trace]], odds: tuple[Odds | None, Odds | None], alpha: float
) -> Finding:
    least, needed, pairs = 1.0, alpha, 0
    for side, row in zip(sides, odds, strict=True):
        if row is None:
            return not_run(plan.name, Check.REPEATS, "how often reports agree by chance is not known for this metric")
        windows = np.concatenate([trace.noised[:, :2] for trace in side])
        copies = np.concatenate([_neighbouring(trace.noised) for trace in side])
        for paired in (windows, copies):
            value, needed = rarest_agreement(paired, row, alpha)
            least, pairs = min(least, value), pairs + len(paired)
    return judged(
        plan.name,
        Check.REPEATS,
        f"{pairs:,} pairs of windows and of metrics agree as chance has it (p ≥ {least:.2g}, fails below {needed:.0e})",
        holds=least >= needed,
        p_value=least,
        fails_below=needed,
        pairs=pairs,
    )


def _neighbouring(noised: Noised) -> Noised:
    """Pairs of copies in the same window."""
    even = len(noised) // 2 * 2
    return np.stack([noised[0:even:2].ravel(), noised[1:even:2].ravel()], axis=1)
