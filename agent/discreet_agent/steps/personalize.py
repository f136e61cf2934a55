"""Scores, segments, flags and arms from features, for whoever asks: what the edges know as `personal.apps.Apps`.

Values are worked out when somebody asks, from buckets in memory; nothing that an app asks writes anything but an
exposure. `settle` writes down what happened meanwhile (segments entered and left, flags reverted) and tells whoever
listens.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.personal.apps import Seen
from discreet_agent.personal.conditions import compile_condition, holds
from discreet_agent.personal.flags import FlagSet
from discreet_agent.personal.reads import GROUPS
from discreet_agent.personal.scores import compile_score, score
from discreet_agent.personal.values import Failure, FlagError, Names
from discreet_agent.senders import ANYONE
from discreet_agent.steps.explaining import explain
from discreet_agent.steps.pins import Pinning
from discreet_agent.steps.stays import Stays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from discreet_agent.personal.apps import Exposure
    from discreet_agent.personal.values import Answer, FeatureValue, ScoreValue, SegmentState
    from discreet_agent.senders import Speaker
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.features import Featuring
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.steps.trials import Trials
    from discreet_agent.store.store import Store
    from discreet_contract.policy.personalization import Flag

_NOT_FOUND = "no such flag"


class Personalizing:
    """Answers apps under one policy after another."""

    def __init__(self, device: Device, store: Store, layer: RawLayer, featuring: Featuring, trials: Trials) -> None:
        self._store = store
        self._layer = layer
        self.features_of = featuring
        self._trials = trials
        self.pinning = Pinning(device, store, layer)
        self.stays = Stays(device, store)
        self._listeners: list[Callable[[], None]] = []
        self._told = b""
        self.evaluated: Counter[str] = Counter()  # by flag, since the start: counted only, never an exposure
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        rules = device.rules
        killed = frozenset(rules.flags) if rules.kill.personalization else frozenset(rules.kill.flags)
        self.flags = FlagSet(rules.flags, rules.evaluators, clock=device.clock, killed=killed)
        self._reads = {key: self.flags.reads(key) for key in self.flags.keys}
        self._timed = {key for key, flag in rules.flags.items() if self._reads_time(key, flag)}
        self._scores = {name: compile_score(name, item) for name, item in rules.scores.items()}
        self._eligible = {
            name: compile_condition(experiment.eligible, rules.evaluators)
            for name, experiment in rules.experiments.items()
            if experiment.eligible is not None
        }
        self.pinning.adopt(device)
        self.stays.adopt(device)
        self._remembered: tuple[object, dict[str, Any]] | None = None
        self._is_pruned = False

    @property
    def is_on(self) -> bool:
        """Whether the owner and the policy let apps be told of this device."""
        return self._device.why_off is None and not self._device.rules.kill.personalization

    # --- values ----------------------------------------------------------------------------

    def features(self, speaker: Speaker) -> list[FeatureValue]:
        """See `Apps`."""
        if not self.is_on:
            return []
        names = [name for name in self.features_of.definitions if speaker.may_read_feature(name)]
        return [self.features_of.read(name) for name in sorted(names)]

    def scores(self, speaker: Speaker) -> list[ScoreValue]:
        """See `Apps`."""
        if not self.is_on:
            return []
        readable = {
            name
            for name, item in self._device.rules.scores.items()
            if all(speaker.may_read_feature(feature) for feature in item.weights)
        }
        return [self._score(name) for name in sorted(readable)]

    def segments(self, speaker: Speaker) -> list[SegmentState]:
        """See `Apps`."""
        if not self.is_on:
            return []
        states = self._now()["states"]
        return [states[name] for name in sorted(states) if speaker.may_read_segment(name)]

    def _score(self, name: str) -> ScoreValue:
        weights = self._device.rules.scores[name].weights
        return score(self._scores[name], {feature: self.features_of.read(feature) for feature in weights})

    def _now(self) -> dict[str, Any]:
        """What conditions may read, worked out at most once a second while nothing comes in."""
        now_ms = self._layer.clock.expected_wall_ms
        trials = self._trials.arms()
        moment = (self.features_of.changes, now_ms // 1000, self._store.undone, trials)
        if self._remembered is None or self._remembered[0] != moment:
            features = {name: self.features_of.read(name).value for name in self.features_of.definitions}
            scores = {name: self._score(name).value for name in self._scores}
            known: dict[str, Any] = {**features, **scores, "features": features, "scores": scores}
            states = self.stays.judge(known, now_ms)
            inside = Names({name: True for name, state in sorted(states.items()) if state.is_inside})
            known |= {"segments": Names({name: state.is_inside for name, state in states.items()})}
            known |= {name: state.is_inside for name, state in states.items()}
            arms = self._arms(known)
            context = {"features": features, "scores": scores, "segments": inside, "experiments": arms}
            self._remembered = (moment, {"context": context, "states": dict(states)})
        return self._remembered[1]

    def _arms(self, known: Mapping[str, Any]) -> dict[str, str]:
        """Arms that are acted on: of experiments this device takes part in, where it is eligible now."""
        arms = self._trials.arms()
        return {name: arm for name, arm in arms.items() if self._is_eligible(name, known)}

    def _is_eligible(self, experiment: str, known: Mapping[str, Any]) -> bool:
        """Not while nobody can say: a device without the feature that decides is shown the default."""
        condition = self._eligible.get(experiment)
        return condition is None or holds(condition, known, self._device.clock.now_ms()) is True

    # --- flags -----------------------------------------------------------------------------

    def evaluate(self, key: str, context: Mapping[str, Any], speaker: Speaker) -> Answer:
        """See `Apps`."""
        if not speaker.may_read_flag(key):
            return Failure(key, FlagError.FLAG_NOT_FOUND, _NOT_FOUND)
        if key in self._reads:
            self.evaluated[key] += 1
        return self._evaluate(key, context)

    def evaluate_all(self, context: Mapping[str, Any], speaker: Speaker) -> list[Answer]:
        """See `Apps`."""
        keys = [key for key in self.flags.keys if speaker.may_read_flag(key)]
        self.evaluated.update(keys)
        return [self._evaluate(key, context) for key in keys]

    def _evaluate(self, key: str, context: Mapping[str, Any]) -> Answer:
        pinned = self.pinned(key)
        if pinned is not None:
            return pinned
        own = {name: value for name, value in context.items() if name not in GROUPS}
        if self.is_on and self._reads.get(key):  # else what is known of the device is not even looked at
            own |= self._now()["context"]
        return self.flags.evaluate(key, own)

    def pinned(self, key: str) -> Answer | None:
        """What a pin that is in force makes a flag give."""
        return self.pinning.answer(key) if self.is_on and key not in self._device.rules.kill.flags else None

    def tag(self, speaker: Speaker) -> str:
        """See `Apps`."""
        keys = [key for key in self.flags.keys if speaker.may_read_flag(key)]
        said = [speaker.name, self._state(keys), self._reading(keys)]
        return blake2b(msgspec.json.encode(said), digest_size=12).hexdigest()

    def _reading(self, keys: Sequence[str]) -> list[Any]:
        """What these flags read: of the device as it is now, and of the time the minute."""
        minute = self._device.clock.now_ms() // 60_000 if not self._timed.isdisjoint(keys) else 0
        read = sorted({name for key in keys for name in self._reads[key]})
        if not self.is_on or not read:
            return [minute]
        context = self._now()["context"]
        parts = ((context[group], name) for group, _, name in (one.partition(".") for one in read))
        return [minute, *(part.get(name) if name else part for part, name in parts)]

    def _reads_time(self, key: str, flag: Flag) -> bool:
        """Whether its answer may be another one merely because time has passed: it may read the clock."""
        rule, evaluators = msgspec.json.encode(flag.targeting), self._device.rules.evaluators
        is_named = b"$flagd" in rule or (b"$ref" in rule and b"$flagd" in msgspec.json.encode(evaluators))
        return is_named or self._reads[key].issuperset(GROUPS)

    def read_by(self, key: str, group: str) -> set[str]:
        """Names of a group that a flag's targeting may look up."""
        names = self._reads[key]
        known: Mapping[str, Any] = getattr(self._device.rules, group)
        return set(known) if group in names else {name for name in known if f"{group}.{name}" in names}

    def _state(self, keys: Sequence[str]) -> list[Any]:
        pinned = [pin for pin in self.pinning.pins().values() if pin.flag in keys]
        pins = sorted((pin.flag, pin.variant, pin.by, pin.at_ms) for pin in pinned)
        return [self._device.policy.digest.hex(), self.is_on, pins]

    # --- explaining ------------------------------------------------------------------------

    def explain(self, key: str, context: Mapping[str, Any], speaker: Speaker) -> dict[str, Any] | Failure:
        """See `Apps`."""
        if key not in self._reads or not speaker.may_read_flag(key):
            return Failure(key, FlagError.FLAG_NOT_FOUND, _NOT_FOUND)
        answer = self._evaluate(key, context)
        return explain(self, self._device, answer, speaker)

    def experiments(self) -> list[dict[str, Any]]:
        """See `Apps`."""
        return self._trials.describe()

    # --- what happens ----------------------------------------------------------------------

    def track(self, exposures: Sequence[Exposure], speaker: Speaker) -> list[Seen]:
        """See `Apps`."""
        if not self.is_on:
            return [Seen.OFF for _ in exposures]
        known = [exposure for exposure in exposures if self._is_readable(exposure.flag, speaker)]
        acted_on = [name for name in self._now()["context"]["experiments"] if not self._is_held(name)]
        noted = iter(self._trials.note(known, acted_on))
        return [
            next(noted) if self._is_readable(exposure.flag, speaker) else Seen.FLAG_NOT_FOUND for exposure in exposures
        ]

    def _is_readable(self, flag: str, speaker: Speaker) -> bool:
        return flag in self._device.rules.flags and speaker.may_read_flag(flag)

    def _is_held(self, experiment: str) -> bool:
        """Whether its flag gives something else than an arm: whoever acts on that has not met the arm."""
        rules = self._device.rules
        key = rules.experiments[experiment].flag
        return key in rules.kill.flags or self.pinning.answer(key) is not None

    def on_change(self, tell: Callable[[], None]) -> Callable[[], None]:
        """See `Apps`."""
        self._listeners.append(tell)

        def end() -> None:
            if tell in self._listeners:
                self._listeners.remove(tell)

        return end

    def settle(self) -> None:
        """Write down entries, exits and reverted flags; tell whoever listens if any answer may be another one now."""
        if self._device.why_off is None:
            self.features_of.living.tick()
            if not self._is_pruned:
                with self._store.transaction():
                    self.stays.leave_the_gone()
                self._is_pruned = True
        if self.is_on:
            self._now()
            if self.stays.is_unsaved:
                with self._store.transaction():
                    self.stays.save()
                self.stays.saved()
            self.pinning.watch(lambda key: self._evaluate(key, {}))
        self._tell()

    def _tell(self) -> None:
        told = self.tag(ANYONE).encode()
        if told != self._told:
            self._told = told
            for tell in tuple(self._listeners):
                tell()

    def begin_anew(self) -> None:
        """What personalization remembered was purged."""
        self.stays.begin_anew()
        self.pinning.begin_anew()
        self._remembered = None
