"""Personalization kept in memory: a whole implementation of what the edges ask, over plain tables."""

from dataclasses import dataclass, field, replace

from discreet_agent.personal.apps import Seen
from discreet_agent.personal.values import (
    Failure,
    Fallback,
    FeatureValue,
    FlagError,
    Reason,
    Resolution,
    ScoreValue,
    SegmentState,
)
from discreet_contract.errors import RetryableError

FLAGS = {
    "autoplay": Resolution("autoplay", value=True, variant="on", reason=Reason.TARGETING_MATCH),
    "rows": Resolution("rows", "personal", "personal", Reason.SPLIT),
    "columns": Resolution("columns", 3, "wide", Reason.STATIC),
    "volume": Resolution("volume", 10.0, "loud", Reason.DEFAULT),
    "theme": Resolution("theme", {"colour": "red", "sizes": [1, 2]}, "warm", Reason.STATIC, {"team": "tv"}),
    "order": Resolution("order", ["news", "drama"], "taste", Reason.STATIC),
    "retired": Resolution("retired", None, None, Reason.DISABLED),
    "undecided": Resolution("undecided", None, None, Reason.DEFAULT),
    "broken": Failure("broken", FlagError.PARSE_ERROR, "targeting names no variant"),
    "crooked": Failure("crooked", FlagError.TYPE_MISMATCH, "variants are of several types"),
    "keyed": Failure("keyed", FlagError.TARGETING_KEY_MISSING, "`fractional` needs a targeting key"),
}
FEATURES = {
    "minutes_7d": FeatureValue("minutes_7d", "ab12", 630, 1_700_000_000_000, 0.87654),
    "top_genres": FeatureValue("top_genres", "cd34", {"news": 4.5, "sport": 1.0}, 1_700_000_000_000, 1.0),
    "evenings": FeatureValue("evenings", "ef56", None, 1_700_000_000_000, 0.0, Fallback.UNAVAILABLE),
}
SEGMENTS = {
    "binge": SegmentState("binge", is_inside=True, since_ms=1_700_000_000_000),
    "night_owl": SegmentState("night_owl", is_inside=False, since_ms=None),
}
SCORES = {"evening": (ScoreValue("evening", 0.25, ("evenings",)), ("minutes_7d", "evenings"))}


class UnavailableError(RetryableError):
    """The store of the tests cannot be read now."""


@dataclass
class MemoryApps:
    """Answers from its tables, within the speaker's scopes, and counts how often it was asked to evaluate."""

    flags: dict = field(default_factory=lambda: dict(FLAGS))
    features_: dict = field(default_factory=lambda: dict(FEATURES))
    state: int = 1
    evaluations: int = 0
    is_out_of_order: bool = False
    contexts: list = field(default_factory=list)
    exposures: list = field(default_factory=list)
    listeners: list = field(default_factory=list)

    def evaluate(self, key, context, speaker):
        self._check()
        self.evaluations += 1
        self.contexts.append(dict(context))
        if key not in self.flags or not speaker.may_read_flag(key):
            return Failure(key, FlagError.FLAG_NOT_FOUND, "no such flag")
        return self.flags[key]

    def evaluate_all(self, context, speaker):
        self._check()
        return [self.evaluate(key, context, speaker) for key in sorted(self.flags) if speaker.may_read_flag(key)]

    def tag(self, speaker):
        self._check()
        seen = sorted(key for key in self.flags if speaker.may_read_flag(key))
        return f"{self.state}:{seen}"

    def features(self, speaker):
        self._check()
        return [value for name, value in sorted(self.features_.items()) if speaker.may_read_feature(name)]

    def scores(self, speaker):
        self._check()
        return [score for score, reads in SCORES.values() if all(speaker.may_read_feature(name) for name in reads)]

    def segments(self, speaker):
        self._check()
        return [state for name, state in sorted(SEGMENTS.items()) if speaker.may_read_segment(name)]

    def explain(self, key, context, speaker):
        answer = self.evaluate(key, context, speaker)
        if isinstance(answer, Failure):
            return answer
        used = [value.name for value in self.features(speaker)]
        return {"flag": key, "variant": answer.variant, "reason": answer.reason.value, "features": used}

    def experiments(self):
        return []

    def track(self, exposures, speaker):
        self._check()
        seen = []
        for exposure in exposures:
            if exposure.flag not in self.flags or not speaker.may_read_flag(exposure.flag):
                seen.append(Seen.FLAG_NOT_FOUND)
                continue
            is_known = any(known.flag == exposure.flag for known in self.exposures)
            self.exposures.append(exposure)
            seen.append(Seen.KNOWN if is_known else Seen.NOTED)
        return seen

    def on_change(self, tell):
        self.listeners.append(tell)
        return lambda: self.listeners.remove(tell)

    # --- what tests do to it -----------------------------------------------------------------

    def turn(self, key, **changes):
        """Change a flag's answer."""
        self.flags[key] = replace(self.flags[key], **changes)
        self.change()

    def change(self):
        """Something is otherwise now."""
        self.state += 1
        self.stir()

    def stir(self):
        """Something may be otherwise now."""
        for tell in list(self.listeners):
            tell()

    def _check(self):
        if self.is_out_of_order:
            raise UnavailableError("the disk is full", hint="free it")
