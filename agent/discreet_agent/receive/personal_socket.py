"""What an app asks over the socket: a line {"query": "features"} and its like → one answer, within the app's scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_agent.event import Refused
from discreet_agent.personal.values import Failure
from discreet_agent.receive.asked import exposures_of, wrong_context
from discreet_agent.receive.told import (
    exposures_told,
    failure_told,
    features_told,
    flag_told,
    flags_told,
    scores_told,
    segments_told,
)
from discreet_contract.errors import RetryableError

if TYPE_CHECKING:
    from discreet_agent.personal.apps import Apps
    from discreet_agent.receive.lines import Query
    from discreet_agent.senders import Speaker

APP_QUERIES = frozenset({"features", "scores", "segments", "evaluate", "explain", "track"})


def answer_app(apps: Apps, query: Query, speaker: Speaker | Refused) -> dict[str, Any]:
    """The answer to one of APP_QUERIES. Never raises: what cannot be answered is an error in words."""
    if isinstance(speaker, Refused):
        return {"error": speaker.reason.value, "detail": speaker.detail}
    broken_rule = wrong_context(query.context)
    if broken_rule is not None:
        return {"error": "INVALID_CONTEXT", "detail": broken_rule}
    try:
        return _answer(apps, query, speaker)
    except RetryableError as exc:
        return {"error": "STORE_UNAVAILABLE", "detail": "the device's store cannot be used now", "next": exc.hint}


def _answer(apps: Apps, query: Query, speaker: Speaker) -> dict[str, Any]:
    match query.name:
        case "features":
            return {"features": features_told(apps.features(speaker))}
        case "scores":
            return {"scores": scores_told(apps.scores(speaker))}
        case "segments":
            return {"segments": segments_told(apps.segments(speaker))}
        case "evaluate" if query.flag is None:
            return {"flags": flags_told(apps.evaluate_all(query.context, speaker))}
        case "evaluate" if query.flag is not None:
            return {"flag": query.flag} | flag_told(apps.evaluate(query.flag, query.context, speaker))
        case "explain" if query.flag is not None:
            answer = apps.explain(query.flag, query.context, speaker)
            return failure_told(answer) if isinstance(answer, Failure) else answer
        case "track":
            exposures = exposures_of(query.exposures)
            return {"exposures": exposures_told(exposures, apps.track(exposures, speaker) if exposures else [])}
    return {"error": "MALFORMED", "detail": 'say which flag: {"query": "explain", "flag": "…"}'}
