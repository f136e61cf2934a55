"""What an app asks for, out of the JSON it sent: a context, exposures. Bounded, and refused by rule, never by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from discreet_agent.personal.apps import Exposure

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CONTEXT_BYTES = 65_536  # of a body or line with a context
MAX_EXPOSURES = 100
MAX_COUNT = 1_000_000

BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what decoding raises at bad JSON

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class ReportedExposure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An exposure as an app writes it."""

    flag: _Name
    variant: _Name | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = 1

    def __repr__(self) -> str:
        return "<ReportedExposure>"


def exposures_of(reported: Sequence[ReportedExposure]) -> list[Exposure]:
    """What personalization is told."""
    return [Exposure(exposure.flag, exposure.variant, exposure.count) for exposure in reported]


def wrong_context(context: Any) -> str | None:
    """Which rule a context breaks, if any. Without one, the device is asked about as it is."""
    if context is msgspec.UNSET:
        return None
    if not isinstance(context, dict):
        return "`context` is a JSON object"
    if not isinstance(context.get("targetingKey", ""), str):
        return "`targetingKey` is text"
    return None
