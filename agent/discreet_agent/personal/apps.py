"""What the edges ask of personalization: one interface for HTTP and the socket.

`Speaker` says who asks; what its scopes do not name does not exist for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from discreet_agent.personal.values import Answer, Failure, FeatureValue, ScoreValue, SegmentState
    from discreet_agent.senders import Speaker


class Seen(StrEnum):
    """What became of a reported exposure."""

    NOTED = "NOTED"  # on disk, for the first time in this phase
    KNOWN = "KNOWN"  # was noted before
    NO_EXPERIMENT = "NO_EXPERIMENT"  # no experiment turns this flag on this device now
    OTHER_VARIANT = "OTHER_VARIANT"  # the app says it showed a variant that is not this device's arm
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    OFF = "OFF"  # the owner, or the policy, says no


@dataclass(frozen=True, slots=True)
class Exposure:
    """An app says that it acted on a flag: somebody saw, or would have seen, the variant's effect."""

    flag: str
    variant: str | None = None  # what was shown, where the app says so
    count: int = 1  # apps may add up before they tell


class Apps(Protocol):
    """Everything an app may ask. Raises RetryableError where the store cannot be read or written now."""

    def evaluate(self, key: str, context: Mapping[str, Any], speaker: Speaker) -> Answer:
        """One flag, under the app's own context and what this device knows. Never an exposure."""

    def evaluate_all(self, context: Mapping[str, Any], speaker: Speaker) -> list[Answer]:
        """Every flag that this app may read, by name."""

    def tag(self, speaker: Speaker) -> str:
        """Changes whenever the answer to the same question might: policy, features, segments, arms, pins."""

    def features(self, speaker: Speaker) -> list[FeatureValue]:
        """Every feature that this app may read, by name."""

    def scores(self, speaker: Speaker) -> list[ScoreValue]:
        """Every score all of whose features this app may read, by name."""

    def segments(self, speaker: Speaker) -> list[SegmentState]:
        """Every segment that this app may read, by name."""

    def explain(self, key: str, context: Mapping[str, Any], speaker: Speaker) -> dict[str, Any] | Failure:
        """Why a flag has its value: rule, feature values used, versions, fallbacks, pins, arms. Plain builtins."""

    def experiments(self) -> list[dict[str, Any]]:
        """For the device's owner: each experiment, its arm since when, or why not. Plain builtins."""

    def track(self, exposures: Sequence[Exposure], speaker: Speaker) -> list[Seen]:
        """Note exposures, durably before it returns."""

    def on_change(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell` (in the event loop) whenever `tag` may have changed; returns what ends it."""
