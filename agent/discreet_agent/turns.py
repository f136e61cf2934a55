"""Which metric of a `rotate` group reports in a window: drawn from the device's secret, never from data.

One member per window, at its full ε. Draws of different windows are independent, so that no
turn says anything about another, and each member is reported by about an equal share of the fleet.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_contract.policy.plan import MetricPlan


def on_turn(secret: bytes, fleet: str, plans: Mapping[str, MetricPlan], plan: MetricPlan, window_start: int) -> bool:
    """Whether this metric reports in the window that starts at this second. One outside of any group always does."""
    group = plan.metric.rotate
    if group is None:
        return True
    members = sorted(other.name for other in plans.values() if other.metric.rotate == group)
    return members[_draw(secret, (fleet, group, window_start, members)) % len(members)] == plan.name


def _draw(secret: bytes, about: tuple[object, ...]) -> int:
    """64 bits of a keyed hash: over at most a few hundred members no draw is favoured by more than 2^-55."""
    message = msgspec.msgpack.encode(about)
    return int.from_bytes(hashlib.blake2b(message, digest_size=8, key=secret, person=b"discreet-turns").digest(), "big")
