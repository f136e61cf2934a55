"""What a device loses under a policy in a span of days: by plain addition, and tightly.

Plain addition is what the caps enforce. The tight figure composes privacy loss distributions
(dp-accounting, extra `audit`); every release is taken as the worst ε-private one there is, a
randomised response at ε, so it holds for whatever mechanism draws.
"""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from discreet_contract.accounting import DAY_SECONDS, NANO, cap_to_nano, to_nano

if TYPE_CHECKING:
    from discreet_contract.policy.model import Metric, Policy

DELTA = 1e-6
SPANS = (1, 28, 30, 365)  # days
INSTALL_HINT = "tight figures need dp-accounting: pip install 'discreet-contract[audit]'"
_TIGHT_LIMIT = 200.0  # ε beyond which a tight figure tells nobody anything and costs memory
_RELEASES_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Loss:
    """ε of one device in any span of `days`. `tight` holds but for probability DELTA; None: not worked out."""

    days: int
    asked: float
    cap: float
    at_most: float
    tight: float | None


def best_guess(epsilon: float, prior: float = 0.5) -> float:
    """Largest belief in a secret that was held with probability `prior`, after losing ε (Bayes' rule)."""
    return prior / (prior + (1 - prior) * math.exp(-epsilon))


def can_be_tight() -> bool:
    """Whether dp-accounting is installed."""
    return importlib.util.find_spec("dp_accounting") is not None


def loss_of(policy: Policy, days: int, *, tight: bool = False) -> Loss:
    """Loss of a device that reports in every window, under the policy's caps."""
    counts = _releases(policy, days)
    asked = sum(nano * count for nano, count in counts.items())
    cap = _cap(policy, days)
    at_most = min(asked, cap) / NANO
    exact = _tight(_permitted(counts, cap), at_most) if tight and can_be_tight() else None
    return Loss(days, asked / NANO, cap / NANO, at_most, exact)


def metric_loss(policy: Policy, name: str, days: int) -> float:
    """ε that one metric alone can cost in `days`, by plain addition under the caps."""
    metric = policy.metrics[name]
    asked = to_nano(metric.epsilon) * charges_in(days, metric)
    return min(asked, _cap(policy, days)) / NANO


def charges_in(days: int, metric: Metric) -> int:
    """Most charges of a metric in a span of so many days; a memoised one is charged once, for a lifetime."""
    return 1 if metric.is_memoised else windows_in(days, metric.window_seconds)


def windows_in(days: int, window_seconds: int) -> int:
    """Most windows that can start within a span of so many days."""
    return math.ceil(days * DAY_SECONDS / window_seconds)


def _releases(policy: Policy, days: int) -> Counter[int]:
    """Nano-ε → how many releases of that cost are asked for. Of metrics that take turns, the dearest at each turn."""
    counts: Counter[int] = Counter()
    turns: dict[str, Metric] = {}
    for metric in policy.metrics.values():
        if metric.rotate is None:
            counts[to_nano(metric.epsilon)] += charges_in(days, metric)
        elif metric.rotate not in turns or metric.epsilon > turns[metric.rotate].epsilon:
            turns[metric.rotate] = metric
    for metric in turns.values():
        counts[to_nano(metric.epsilon)] += charges_in(days, metric)
    return counts


def _cap(policy: Policy, days: int) -> int:
    """A span longer than a cap's own can hold several of them; the caps above it still hold."""
    budget = policy.budget
    return min(
        cap_to_nano(budget.per_28_days) * math.ceil(days / 28),
        cap_to_nano(budget.per_365_days) * math.ceil(days / 365),
        cap_to_nano(budget.lifetime),
    )


def _permitted(counts: Counter[int], cap: int) -> Counter[int] | None:
    """Releases that fit under the cap. None where different costs compete for it: which of them win is not fixed."""
    if sum(nano * count for nano, count in counts.items()) <= cap:
        return counts
    if len(counts) > 1:
        return None
    [nano] = counts
    return Counter({nano: cap // nano})


def _tight(counts: Counter[int] | None, plain: float) -> float | None:
    """Smallest ε for DELTA, never above the plain sum; None where it was not worked out."""
    if counts is None or plain > _TIGHT_LIMIT or sum(counts.values()) > _RELEASES_LIMIT:
        return None
    from dp_accounting.pld import privacy_loss_distribution

    total: Any = privacy_loss_distribution.identity()
    for nano, count in sorted(counts.items()):
        if count:
            # noise parameter p: the truth with 1 − p + p/2, which is e^ε/(1 + e^ε) of two answers
            noise = 2 / (1 + math.exp(nano / NANO))
            response = privacy_loss_distribution.from_randomized_response(noise, 2)
            total = total.compose(response.self_compose(count))
    return min(float(total.get_epsilon_for_delta(DELTA)), plain)
