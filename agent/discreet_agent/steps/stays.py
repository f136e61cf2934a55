"""Segments of this device: who is inside since when, written down with every entry and exit."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.personal.segments import compile_segment, judge
from discreet_agent.personal.values import SegmentState
from discreet_agent.store.personal import Move

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.steps.device import Device
    from discreet_agent.store.store import Store


class Stays:
    """Keeps the segments of one policy after another. A segment whose definition changed begins anew, outside."""

    def __init__(self, device: Device, store: Store) -> None:
        self._store = store
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._version = device.rules.version
        segments = {} if device.rules.kill.personalization else device.rules.segments
        shared = device.rules.evaluators
        self._rules = {name: compile_segment(name, segment, shared) for name, segment in segments.items()}
        self._definitions = {name: definition_hash(segment) for name, segment in segments.items()}
        self._states: dict[str, SegmentState] | None = None
        self._unsaved: dict[str, list[Move]] = {}

    def judge(self, values: Mapping[str, Any], now_ms: int) -> dict[str, SegmentState]:
        """Every segment's state by these values of features and scores; what changed waits for `save`."""
        states = self._loaded()
        for name, rule in self._rules.items():
            former = states[name]
            state = states[name] = judge(rule, former, values, now_ms)
            if state.is_inside is not former.is_inside:
                what = "ENTERED" if state.is_inside else "LEFT"
                self._unsaved.setdefault(name, []).append(Move(now_ms, what, name, "", self._version))
        return states

    @property
    def is_unsaved(self) -> bool:
        """Whether an entry or exit is only known in memory."""
        return bool(self._unsaved)

    def save(self) -> None:
        """Write down what changed; within a transaction. Call `saved` when it is on disk."""
        for name, moves in self._unsaved.items():
            self._store.personal.keep_segment(self._definitions[name], self._loaded()[name])
            for move in moves:
                self._store.personal.note(move)

    def saved(self) -> None:
        """What was written is on disk."""
        self._unsaved.clear()

    def leave_the_gone(self) -> None:
        """Forget segments that are not in the policy as they were; within a transaction."""
        for name, (definition, _) in self._store.personal.segments().items():
            if self._definitions.get(name) != definition:
                self._store.personal.forget_segment(name)

    def begin_anew(self) -> None:
        """The table was emptied: every segment is judged from outside."""
        self._states = None
        self._unsaved.clear()

    def _loaded(self) -> dict[str, SegmentState]:
        if self._states is None:
            kept = self._store.personal.segments()
            self._states = {
                name: kept[name][1] if name in kept and kept[name][0] == definition else _outside(name)
                for name, definition in self._definitions.items()
            }
        return self._states


def _outside(name: str) -> SegmentState:
    return SegmentState(name, is_inside=False, since_ms=None)


def definition_hash(item: msgspec.Struct) -> str:
    """Names a definition: all of it but its words."""
    meaning = {key: value for key, value in msgspec.to_builtins(item).items() if key != "why"}
    return blake2b(msgspec.json.encode(meaning, order="deterministic"), digest_size=8).hexdigest()
