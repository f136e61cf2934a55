"""Flags that are held: by the owner's word, or by a guard that reverted a change.

A guard watches one signal. Where more of its events came within its window since one of its flags began to give
something else than are tolerated, the flag gives again what it gave before, until its definition changes or the
owner lets it go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_agent.personal.guards import compile_guard, concerns, is_over, trips
from discreet_agent.personal.values import Reason, Resolution
from discreet_agent.steps.stays import definition_hash
from discreet_agent.store.personal import Mark, Move, Pin
from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from discreet_agent.personal.guards import GuardRule
    from discreet_agent.personal.values import Answer
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.store import Store

OWNER = "owner"


class Pinning:
    """Keeps the pins of one device under one policy after another."""

    def __init__(self, device: Device, store: Store, layer: RawLayer) -> None:
        self._store = store
        self._layer = layer
        self._undone = store.undone
        self._pins: dict[str, Pin] | None = None
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        self._definitions = {key: definition_hash(flag) for key, flag in device.rules.flags.items()}
        guards = {} if device.rules.kill.personalization else device.rules.guards
        self._guards = [compile_guard(name, guard) for name, guard in guards.items()]
        # What was switched off is not watched: a guard would take that for the change that broke things, and undo it.
        is_off = {key for key, flag in device.rules.flags.items() if flag.state == "DISABLED"}
        self._guarded = {flag for guard in self._guards for flag in guard.flags} - is_off - set(device.rules.kill.flags)
        self._arms = {(trial.flag, arm) for trial in device.rules.experiments.values() for arm in trial.arms}

    # --- reading ---------------------------------------------------------------------------

    def pins(self) -> dict[str, Pin]:
        """Every pin that holds; a guard's holds for the definition that it reverted."""
        if self._pins is None or self._undone != self._store.undone:
            self._undone = self._store.undone
            self._pins = self._store.personal.pins()
        return self._pins

    def answer(self, key: str) -> Resolution | None:
        """What a pinned flag gives; None where it is not pinned."""
        pin = self.pins().get(key)
        if pin is None or not self._holds(pin):
            return None
        pinned: dict[str, str | float | bool] = {"pinned": pin.by}
        return Resolution(key, pin.value, pin.variant, Reason.STATIC, pinned)

    def _holds(self, pin: Pin) -> bool:
        """The owner's holds while there is such a variant, a guard's until the definition changes."""
        flag = self._device.rules.flags.get(pin.flag)
        if flag is None:
            return False
        return pin.variant in flag.variants if pin.by == OWNER else pin.definition == self._definitions[pin.flag]

    # --- the owner -------------------------------------------------------------------------

    def pin(self, key: str, variant: str, reason: str) -> None:
        """Hold a flag at a variant. Raises ConfigError where there is none of that name, or the policy killed it."""
        flag, kill = self._device.rules.flags.get(key), self._device.rules.kill
        if flag is None:
            known = ", ".join(sorted(self._device.rules.flags)) or "none"
            raise ConfigError(f"the policy has no flag {key!r}", hint=f"it has {known}")
        if variant not in flag.variants:
            raise ConfigError(f"flag {key!r} has no variant {variant!r}", hint=f"it has {', '.join(flag.variants)}")
        if kill.personalization or key in kill.flags:
            raise ConfigError(f"the policy killed flag {key!r}", hint="a kill is stronger than a pin")
        self._set(Pin(key, variant, flag.variants[variant], OWNER, reason, self._now_ms, self._definitions[key]))

    def unpin(self, key: str) -> None:
        """Let a flag go, whoever pinned it. Raises ConfigError where it is not pinned."""
        pin = self.pins().get(key)
        if pin is None:
            raise ConfigError(f"flag {key!r} is not pinned", hint="`discreet agent flags` shows which are")
        mark = self._store.personal.marks().get(key) if pin.by != OWNER else None
        with self._store.transaction():
            self._store.personal.unpin(key)
            if mark is not None:  # on trial from now on: what came before has had its effect, and the owner knows
                self._store.personal.mark(mark._replace(changed_ms=self._now_ms))
            self._store.personal.note(Move(self._now_ms, "UNPINNED", key, OWNER, self._device.rules.version))
        self._pins = None

    def _set(self, pin: Pin) -> None:
        what = "PINNED" if pin.by == OWNER else "REVERTED"
        with self._store.transaction():
            self._store.personal.pin(pin)
            self._store.personal.note(Move(pin.at_ms, what, pin.flag, pin.reason, self._device.rules.version))
            if pin.by != OWNER:
                self._store.count("flags_reverted", pin.by)
        self._pins = None

    def begin_anew(self) -> None:
        """The table was changed by somebody else: look at it again."""
        self._pins = None

    # --- guards ----------------------------------------------------------------------------

    def watch(self, evaluate: Callable[[str], Answer]) -> None:
        """Notice guarded flags that give something else now, and revert those whose guard has tripped.

        `evaluate`: what a flag gives an app that says nothing of itself.
        """
        if not self._guarded:
            return
        marks = self._store.personal.marks()
        for key in sorted(self._guarded):
            changed = self._changed(key, marks.get(key), evaluate(key))
            if changed is not None:
                with self._store.transaction():
                    self._store.personal.mark(changed)
                marks[key] = changed
        for pin in list(self._reverted(marks)):
            self._set(pin)

    def _changed(self, key: str, mark: Mark | None, answer: Answer) -> Mark | None:
        variant, value = (answer.variant, answer.value) if isinstance(answer, Resolution) else (None, None)
        definition = self._definitions[key]
        if mark is None:  # what was before nobody knows
            return Mark(key, definition, variant, value, variant, value, 0)
        if self.answer(key) is not None:
            return None  # it is held: nothing of its definition shows
        if (mark.definition, mark.variant, mark.value) == (definition, variant, value):
            return None
        return Mark(key, definition, variant, value, mark.variant, mark.value, self._now_ms)

    def _reverted(self, marks: Mapping[str, Mark]) -> Iterator[Pin]:
        for guard in self._guards:
            flags = self._guarded.intersection(guard.flags)
            watched = [marks[key] for key in sorted(flags) if self._is_on_trial(guard, marks.get(key))]
            times = self._times(guard) if watched else []
            for mark in watched:
                if trips(guard, times, mark.changed_ms):
                    yield self._as_before(guard, mark)

    def _is_on_trial(self, guard: GuardRule, mark: Mark | None) -> bool:
        """Whether a flag changed lately, and can go back."""
        if mark is None or mark.former_variant is None or not mark.changed_ms or self.answer(mark.flag) is not None:
            return False
        if (mark.flag, mark.former_variant) in self._arms and not self._is_default(mark.flag, mark.former_variant):
            return False  # the device has left that arm, or its experiment was ended: nobody is put back into one
        return not is_over(guard, mark.changed_ms, self._now_ms - guard.window_ms)  # late events are waited for

    def _is_default(self, key: str, variant: str) -> bool:
        return self._device.rules.flags[key].default_variant == variant

    def _as_before(self, guard: GuardRule, mark: Mark) -> Pin:
        assert mark.former_variant is not None  # noqa: S101 - else it is not on trial
        reason = f"more than {guard.at_most} {guard.signal} within {guard.window_ms // 1000} s of its change"
        definition = self._definitions[mark.flag]
        return Pin(mark.flag, mark.former_variant, mark.former_value, guard.name, reason, self._now_ms, definition)

    def _times(self, guard: GuardRule) -> list[int]:
        """When the guard's events happened, lately."""
        earliest = self._now_ms - 3 * guard.window_ms
        since = self._layer.clock.of(earliest) // 1000
        return [
            event.time_ms
            for block in self._store.raw.counted(guard.signal, since)
            for event in self._store.raw.readable(block) or ()
            if event.time_ms >= earliest and concerns(guard, guard.signal, event.fields)
        ]

    @property
    def _now_ms(self) -> int:
        return self._layer.clock.expected_wall_ms


def described(pin: Pin) -> dict[str, Any]:
    """A pin for whoever asks."""
    return {"flag": pin.flag, "variant": pin.variant, "by": pin.by, "reason": pin.reason, "since_ms": pin.at_ms}
