"""Whether report ids and receipt keys say what a device did, or which device it is.

Both stand beside the noised value, unread by the other checks, so a bit of them is as good a place for a raw
value as the payload. They must look drawn at random: no two alike, every bit as often 1 as 0 for each
neighbour, and a bit of one report no guide to that of the device's next. A code hidden in several bits is not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from discreet_contract.audit.findings import Check, Finding, judged
from discreet_contract.wire import REPORT_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from discreet_contract.audit.odds import Floats
    from discreet_contract.audit.walk import Trace
    from discreet_contract.policy.plan import MetricPlan

    Names = npt.NDArray[np.uint8]


def check_names(plan: MetricPlan, traces: Mapping[str, Sequence[Trace]], alpha: float) -> Finding:
    """All names of all devices; fails by chance with odds of at most `alpha`."""
    names = {role: np.stack([trace.names for trace in devices]) for role, devices in traces.items()}
    every = np.concatenate([one.reshape(-1, one.shape[-1]) for one in names.values()])
    repeated = _repeated(every[:, :REPORT_ID_BYTES]) + _repeated(every[:, REPORT_ID_BYTES:])
    values = np.concatenate([values for one in names.values() for values in _p_values(one)])
    least, needed = float(values.min()), alpha / len(values)
    return judged(
        plan.name,
        Check.NAMES,
        f"{len(every):,} report ids and receipt keys, {repeated:,} repeated;"
        f" bits are 0 and 1 as chance has it (p ≥ {least:.2g}, fails below {needed:.0e})",
        holds=repeated == 0 and least >= needed,
        reports=len(every),
        repeated=repeated,
        p_value=least,
        fails_below=needed,
    )


def _repeated(names: Names) -> int:
    return len(names) - len(np.unique(names, axis=0))


def _p_values(names: Names) -> list[Floats]:
    """Bit by bit: ones; and agreement of a device's neighbouring windows, and of its neighbouring copies."""
    bits = np.unpackbits(names, axis=-1)  # devices × copies × windows × bits
    even = bits.shape[1] // 2 * 2
    same = (bits[:, :, :-1] == bits[:, :, 1:], bits[:, 0:even:2] == bits[:, 1:even:2])
    return [_two_sided(seen.reshape(-1, bits.shape[-1])) for seen in (bits, *same)]


def _two_sided(seen: npt.NDArray[np.generic]) -> Floats:
    """Twice the smaller tail of the binomial at one half."""
    ones, count = seen.sum(axis=0), len(seen)
    tails = np.minimum(stats.binom.cdf(ones, count, 0.5), stats.binom.sf(ones - 1, count, 0.5))
    values: Floats = np.minimum(1.0, 2 * tails)
    return values
