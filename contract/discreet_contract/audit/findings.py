"""What one check found about one metric: an outcome, its figures, and for a failure what it means and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FALSE_ALARM = 1e-6  # odds that an honest policy's whole audit shows any failure by chance
CHANCES = 16  # random comparisons of one metric at the most; each gets its part of FALSE_ALARM


class Outcome(StrEnum):
    """How a check ended. What was not run is said, and is no failure."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    NOT_RUN = "NOT RUN"


class Check(StrEnum):
    """Everything that is checked of a metric."""

    ODDS = "odds"
    CHARGE = "charge"
    BIAS = "bias"
    COVERAGE = "coverage"
    BOUND = "lower bound"
    LIFETIME = "lifetime"
    DRAWS = "draws"
    SPREAD = "spread"
    REPEATS = "repeats"
    PRESENCE = "presence"
    NAMES = "names"
    LEDGER = "ledger"
    RESEND = "resend"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one metric. `figures` is for people, `facts` holds the same for programs."""

    metric: str
    check: Check
    outcome: Outcome
    figures: str
    facts: dict[str, Any] = field(default_factory=dict)


def judged(metric: str, check: Check, figures: str, *, holds: bool, **facts: Any) -> Finding:
    """A check that was run."""
    return Finding(metric, check, Outcome.PASS if holds else Outcome.FAIL, figures, facts)


def not_run(metric: str, check: Check, why: str) -> Finding:
    """A check that could not be run, and why."""
    return Finding(metric, check, Outcome.NOT_RUN, why)


# What a check looks at; what its failure means; what to do then.
MEANINGS: dict[Check, tuple[str, str, str]] = {
    Check.ODDS: (
        "Exact odds: they sum to 1, and no output is likelier by more than e^ε for one value than for another.",
        "The mechanism's own odds reveal more than the declared ε, or they are no odds at all.",
        "Do not release. Round probabilities down and noise scales up until the exact loss is at most ε.",
    ),
    Check.CHARGE: (
        "A report's charge is at least the exact loss and at most the declared ε, which is not far above the loss.",
        "The ledger books another figure than the mechanism costs: caps are passed unseen, or spent for nothing.",
        "Charge what OpenDP's map returns, rounded up to a nano-ε; where noise is stronger than declared, lower ε.",
    ),
    Check.BIAS: (
        "Estimates of simulated devices, drawn from the odds with a fixed seed, average to the truth.",
        "The estimator and the odds disagree: every figure made with them is off in one direction.",
        "Compare `estimate` with the odds; both must use the same probabilities, and nothing may be clipped.",
    ),
    Check.COVERAGE: (
        "95% intervals of the same simulated devices hold the truth at least 94 times in 100.",
        "Intervals are narrower than they say: readers trust figures more than they should.",
        "Check `variance` and `interval` of the mechanism for few devices and rare values.",
    ),
    Check.BOUND: (
        "What two neighbouring devices sent, over the whole device path, proves an ε of at least so much.",
        "A device reveals more than its policy declares: an observer tells the two neighbours apart too well.",
        "Stop releases. Look between event and envelope: clamp first, draw whole noise, leave no report out.",
    ),
    Check.LIFETIME: (
        "All reports of one device together prove an ε of at least so much; the ledger charged at least that.",
        "Reports of one device add up to more than was charged for them: what is to be drawn once is drawn again.",
        "Stop releases. A permanent response is drawn once a value, stored in the same transaction, and kept.",
    ),
    Check.DRAWS: (
        "Reports of both neighbours follow the declared odds for their bounded value.",
        "The device draws other noise than its mechanism states, or bounds its value otherwise than its policy says.",
        "Compare the drawn noise with the odds: its scale, what is clamped and when, what a silent device reports.",
    ),
    Check.SPREAD: (
        "The noise of both neighbours is equally wide.",
        "The width of the noise depends on the data, so the width itself gives them away.",
        "Take sensitivity from the policy's bounds, never from what the device recorded.",
    ),
    Check.REPEATS: (
        "Noise of two windows of one device, and of two metrics in one window, is independent.",
        "Noise is reused: the difference of two reports shows the difference of the raw values.",
        "Draw anew for every metric and window, by OpenDP, and store what was drawn.",
    ),
    Check.PRESENCE: (
        "An inactive device sends the same number of reports as an active one, of the same form and lengths.",
        "Whether a report comes, or in what form, tells what the device did, without any noise.",
        "A device with nothing to say reports its zero (a category `none`), by the same path and in the same length.",
    ),
    Check.NAMES: (
        "Report ids and receipt keys are all different, and no bit of them follows the neighbour or the report before.",
        "What stands beside the noise tells what the device did, or which reports are one device's.",
        "Make an id from secret, metric and window only, by a keyed hash; draw a receipt key anew for each report.",
    ),
    Check.LEDGER: (
        "Both neighbours are charged the same, report by report, and no less than their mechanism's charge.",
        "The ledger depends on data, or reports leave without being paid for.",
        "Charge before drawing, in the same transaction, whatever the value is.",
    ),
    Check.RESEND: (
        "After closing and opening the device again its waiting envelopes are the same bytes.",
        "A report is drawn or sealed again when it is sent again: averaging the copies removes the noise.",
        "Store the sealed bytes in the transaction that draws them, and send only those.",
    ),
}
