"""Which experiments a device takes part in and in which arm: `blake2b-1`, a pure function of policy and device secret.

Three draws, each independent of the others, each the first eight bytes (big endian) of BLAKE2b over
`purpose 0x00 label`, keyed with the device's assignment key. That key is BLAKE2b-256 of nothing, keyed with the
device's secret under the personalisation `discreet-arms-1`; neither ever leaves the device.

    holdout     label: the fleet             below the global holdout: in no experiment at all
    layer       label: the layer's name      a position; each experiment of the layer has positions of its own
    arm         label: the experiment's salt the arm, in the order of their names, by their shares

Draws are compared as whole numbers (draw × parts, shifted right by 64 bits): no rounding moves a device.
Pinned by tests/vectors/assignment.json; another way to draw is another name.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

POSITIONS = 10_000  # of a layer: hundredths of a percent
_PERSON = b"discreet-arms-1"


def assignment_key(secret: bytes) -> bytes:
    """The key of all draws of one device, from its secret of 32 bytes."""
    return blake2b(b"", key=secret, digest_size=32, person=_PERSON).digest()


def place(key: bytes, purpose: str, label: str, parts: int) -> int:
    """One draw as a number in [0, parts), each equally likely to within parts × 2^-64."""
    drawn = blake2b(purpose.encode() + b"\0" + label.encode(), key=key, digest_size=8).digest()
    return int.from_bytes(drawn, "big") * parts >> 64


def is_held_out(key: bytes, fleet: str, positions: int) -> bool:
    """Whether the device is among the fleet's global holdout of so many positions."""
    return place(key, "holdout", fleet, POSITIONS) < positions


def layer_position(key: bytes, layer: str) -> int:
    """The device's position in a layer, in [0, POSITIONS)."""
    return place(key, "layer", layer, POSITIONS)


def draw_arm(key: bytes, salt: str, arms: Mapping[str, int]) -> str:
    """The device's arm. `arms`: shares in whole percent that add up to 100."""
    left = place(key, "arm", salt, sum(arms.values()))
    for name in sorted(arms):
        left -= arms[name]
        if left < 0:
            return name
    raise ValueError("an experiment without arms")
