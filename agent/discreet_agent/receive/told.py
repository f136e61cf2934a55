"""What an app is told, as JSON: features, scores, segments, a flag's answer. The same over HTTP and the socket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from discreet_agent.personal.values import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from discreet_agent.personal.apps import Exposure, Seen
    from discreet_agent.personal.values import Answer, FeatureValue, ScoreValue, SegmentState


def features_told(features: Iterable[FeatureValue]) -> dict[str, Any]:
    """Name → value, and how far it can be trusted."""
    return {feature.name: _feature(feature) for feature in features}


def scores_told(scores: Iterable[ScoreValue]) -> dict[str, Any]:
    """Name → value, null where a feature it needs has none."""
    return {score.name: {"value": score.value, "fallbacks": list(score.fallbacks)} for score in scores}


def segments_told(segments: Iterable[SegmentState]) -> dict[str, Any]:
    """Name → whether the device is inside, and since when it is or is not; null: it never was inside."""
    return {segment.name: {"inside": segment.is_inside, "since": _moment(segment.since_ms)} for segment in segments}


def flags_told(answers: Iterable[Answer]) -> dict[str, Any]:
    """Key → answer."""
    return {answer.key: flag_told(answer) for answer in answers}


def flag_told(answer: Answer) -> dict[str, Any]:
    """A value, variant and reason; without a value where the app takes its own default; or an error."""
    if isinstance(answer, Failure):
        return failure_told(answer)
    said: dict[str, Any] = {"variant": answer.variant, "reason": answer.reason.value}
    if answer.variant is not None:
        said["value"] = answer.value
    if answer.metadata:
        said["metadata"] = answer.metadata
    return said


def failure_told(failure: Failure) -> dict[str, Any]:
    """Why there is no answer."""
    return {"error": failure.code.value, "detail": failure.detail}


def exposures_told(exposures: Sequence[Exposure], seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """What became of each, in order."""
    return [{"flag": said.flag, "seen": what.value} for said, what in zip(exposures, seen, strict=True)]


def _feature(feature: FeatureValue) -> dict[str, Any]:
    return {
        "value": feature.value,
        "version": feature.version,
        "as_of": _moment(feature.as_of_ms),
        "coverage": round(feature.coverage, 4),
        "fallback": feature.fallback.value or None,
        "at_least": feature.at_least,
        "partial": feature.is_partial,
    }


def _moment(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
