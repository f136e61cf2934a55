"""Events into the buckets of the features they concern, out of them again, and values out of buckets.

Buckets are rows, written in the transaction of the raw events they come from, with a copy in memory that is given
up whenever a transaction fails. A feature that is new or has changed is built up from the stored events first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.features.definition import compile_features
from discreet_agent.features.reading import Buckets, read_feature
from discreet_agent.features.states import NOT_UNDOABLE
from discreet_agent.steps.alive import Living
from discreet_agent.store.deletions import Deletion, Why
from discreet_agent.store.features import Built, FeatureRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from discreet_agent.event import Event
    from discreet_agent.features.definition import Definition
    from discreet_agent.features.states import State
    from discreet_agent.personal.values import FeatureValue
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.store import Store
    from discreet_agent.tally import SignalGroup


class _Kept:
    """One feature's buckets in memory."""

    def __init__(self, rows: Iterable[FeatureRow], complete_since: int, floor: int = 0) -> None:
        self.states: dict[int, dict[str, State]] = {}
        self.partial: set[int] = set()
        self.complete_since = complete_since
        self.floor = floor
        self.read_at = -1  # second of the value that is remembered
        self.value: FeatureValue | None = None
        for row in rows:
            self.states.setdefault(row.start, {})[row.key] = row.state
            if row.is_partial:
                self.partial.add(row.start)


class Featuring:
    """Keeps the features of one device under one policy after another."""

    def __init__(self, device: Device, store: Store, layer: RawLayer) -> None:
        self._store = store
        self._layer = layer
        self._kept: dict[str, _Kept] = {}
        self._undone = store.undone
        self.changes = 0  # rises with every change of any bucket
        self.living = Living(device, store, layer)
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        rules = device.rules
        self.definitions: Mapping[str, Definition] = {} if rules.kill.personalization else compile_features(rules)
        self._by_signal: dict[str, list[Definition]] = {}
        for definition in self.definitions.values():
            self._by_signal.setdefault(definition.signal, []).append(definition)
        self._kept = {}
        self._is_built = False
        self.changes += 1
        self.living.adopt(device, frozenset(self._by_signal))

    # --- building up -----------------------------------------------------------------------

    def prepare(self) -> None:
        """Build up what is new or has changed; before the transaction that brings in more events."""
        if self._is_built:
            return
        built = self._store.features.built()
        wanted = {name: definition.state_version for name, definition in self.definitions.items()}
        with self._store.transaction():
            for name, former in built.items():
                if wanted.get(name) != former.state_version:
                    self._forget_all(name, Why.POLICY)
                    self._store.features.drop(name)
            for signal, definitions in self._by_signal.items():
                missing = [one for one in definitions if one.name not in built or not _is_same(one, built[one.name])]
                self._build(signal, missing)
        self._is_built = True

    def _build(self, signal: str, definitions: Sequence[Definition], before_ms: int = 0) -> None:
        """From what the raw log holds, read once for all of them; `before_ms`: nothing older than that."""
        if not definitions:
            return
        gone_until = self._store.deletions.until("raw", signal)
        since = max(gone_until - self._shift(), before_ms // 1000) if gone_until or before_ms else 0
        building = [(one, _Kept([], since), set[tuple[int, str]]()) for one in definitions]
        for events in self._stored(signal, 0, [kept for _, kept, _ in building]):
            for definition, kept, touched in building:
                touched.update(self._fold(definition, kept, self._young(definition, events, before_ms)))
        for definition, kept, touched in building:
            self._kept[definition.name] = kept
            self._store.features.mark_built(definition.name, Built(definition.state_version, kept.complete_since))
            self._save(definition, kept, touched)

    def _young(self, definition: Definition, events: Sequence[Event], before_ms: int) -> dict[int, list[Event]]:
        """By bucket, those that a value may still be read from."""
        earliest_ms = max(before_ms, self._oldest(definition) * 1000)
        return _by_bucket(definition, definition.chosen([event for event in events if event.time_ms >= earliest_ms]))

    def _stored(self, signal: str, since: int, building: Sequence[_Kept]) -> Iterator[list[Event]]:
        """Events that are still kept, by block; what a damaged block held is missing, and said to be."""
        for block in self._store.raw.counted(signal, since):
            events = self._store.raw.readable(block)
            if events is None:
                self._store.count("blocks_unreadable", signal)
                for kept in building:
                    kept.complete_since = self._device.clock.now_ms() // 1000
            else:
                yield events

    # --- events ----------------------------------------------------------------------------

    def take(self, groups: Mapping[str, SignalGroup]) -> None:
        """Count events; within a transaction, after `prepare`."""
        rows: list[FeatureRow] = []
        shift = self._shift()
        for signal, group in groups.items():
            for definition in self._by_signal.get(signal, ()):
                kept = self._load(definition)
                windows = group.windows(definition.grid.width).items()
                first = self._first(definition, kept)
                parts = {start: definition.chosen(part) for start, part in windows if start >= first}
                rows += self._rows(definition, kept, self._fold(definition, kept, parts), shift)
        self._write(rows)

    def _fold(self, definition: Definition, kept: _Kept, parts: Mapping[int, Sequence[Event]]) -> set[tuple[int, str]]:
        touched: set[tuple[int, str]] = set()
        add = definition.aggregate.add
        for start, events in parts.items():
            if not events:
                continue
            states = kept.states.setdefault(start, {})
            for key, some in definition.by_key(events).items():
                states[key] = add(states.get(key), start, some)
                touched.add((start, key))
        return touched

    def _first(self, definition: Definition, kept: _Kept) -> int:
        """Start of the oldest bucket that takes events: what was forgotten is not begun again with a part of it."""
        return max(kept.floor, self._oldest(definition))

    def _oldest(self, definition: Definition) -> int:
        grid = definition.grid
        return grid.bucket(self._layer.clock.expected_wall_ms - (grid.kept + grid.width) * 1000) + grid.width

    def take_back(self, events: Sequence[Event]) -> None:
        """Undo events that were counted and are no longer in the raw log; within a transaction."""
        for signal, definitions in self._by_signal.items():
            some = [event for event in events if event.signal == signal]
            for definition in definitions:
                for start, part in _by_bucket(definition, definition.chosen(some)).items():
                    for key, undone in definition.by_key(part).items():
                        self._undo(definition, start, key, undone)

    def _undo(self, definition: Definition, start: int, key: str, events: Sequence[Event]) -> None:
        kept = self._load(definition)
        state = kept.states.get(start, {}).get(key)
        if state is None or start < self._first(definition, kept):  # it is forgotten already
            return
        without = self._without(definition, start, key, events)
        if without is None:
            del kept.states[start][key]
            if not kept.states[start]:
                del kept.states[start]
            kept.value = None
            self.changes += 1
            self._store.features.remove(definition.name, start, key)
            return
        kept.states[start][key] = without
        self._save(definition, kept, {(start, key)})

    def _without(self, definition: Definition, start: int, key: str, events: Sequence[Event]) -> State | None:
        """A bucket's state without these events; None where nothing is left."""
        kept = self._load(definition)
        state: State | None = kept.states[start][key]
        for event in events:
            if state is None:
                break
            without = definition.aggregate.remove(state, start, event)
            if without is not NOT_UNDOABLE:
                state = without
            elif self._is_raw_kept_since(definition.signal, start):
                return self._anew(definition, start, key)  # from what is left, so without all of them
            else:
                kept.partial.add(start)
                self._store.count("corrections_not_applied", definition.name)
        return state

    def _is_raw_kept_since(self, signal: str, start: int) -> bool:
        return self._store.deletions.until("raw", signal, but=Why.PURGED) <= self._layer.clock.of(start * 1000) // 1000

    def _anew(self, definition: Definition, start: int, key: str) -> State | None:
        """One bucket's state from what the raw log holds."""
        since = self._layer.clock.of(start * 1000) // 1000
        again = _Kept([], 0)
        for events in self._stored(definition.signal, since, [again]):
            inside = [event for event in events if definition.grid.bucket(event.time_ms) == start]
            self._fold(definition, again, {start: definition.chosen(inside)})
        if again.complete_since:
            self._load(definition).partial.add(start)
        return again.states.get(start, {}).get(key)

    # --- reading ---------------------------------------------------------------------------

    def read(self, name: str) -> FeatureValue:
        """A feature's value now; worked out at most once a second while nothing comes in."""
        self.prepare()
        definition = self.definitions[name]
        kept = self._load(definition)
        now_ms = self._layer.clock.expected_wall_ms
        if kept.value is None or kept.read_at != now_ms // 1000:
            buckets = Buckets(kept.states, kept.partial, kept.complete_since)
            kept.value = read_feature(definition, buckets, self.living.spans(definition.signal), now_ms)
            kept.read_at = now_ms // 1000
        return kept.value

    # --- forgetting ------------------------------------------------------------------------

    def forget(self) -> None:
        """Forget buckets that no value is read from any more, and features that no event has kept alive.

        Within a transaction, after `prepare`.
        """
        now = self._layer.clock.now_ms() // 1000
        for name, definition in self.definitions.items():
            kept = self._load(definition)
            newest = max(kept.states, default=None)
            grid = definition.grid
            if newest is not None and grid.ttl is not None:
                died = self._layer.clock.of((newest + grid.width + grid.ttl) * 1000) // 1000
                if died <= now:
                    self._forget_all(name, Why.EXPIRED)
                    floor = grid.bucket(self._layer.clock.expected_wall_ms)
                    built = Built(definition.state_version, kept.complete_since, floor)
                    self._store.features.mark_built(name, built)
                    continue
            gone = [self._store.features.forget(name, expired_at=now)]
            if self._layer.is_dated:  # a policy may keep them for a shorter time than when they were written
                oldest = self._device.clock.now_ms() // 1000 - grid.kept - grid.width
                gone.append(self._store.features.forget(name, before=oldest))
            for some in gone:
                if some[0]:
                    self._write_receipt(definition, some, Why.EXPIRED)
                    self._kept.pop(name, None)
                    self.changes += 1

    def purge(self, signal: str | None, before_ms: int | None) -> None:
        """Forget what was made of a signal's events, or of all, up to a moment; the rest is built up again."""
        for name, definitions in self._by_signal.items():
            if signal not in {None, name}:
                continue
            for definition in definitions:
                self._forget_all(definition.name, Why.PURGED)
            if before_ms is not None:
                self._build(name, definitions, before_ms)
        if signal is None:
            self.living.purge(before_ms)

    def _forget_all(self, name: str, why: Why) -> None:
        gone = self._store.features.forget(name)
        self._kept.pop(name, None)
        self.changes += 1
        if gone[0]:
            definition = self.definitions.get(name)
            rows, first, last = gone
            length = last - first + (1 if definition is None else definition.grid.width)
            now_ms = self._device.clock.now_ms()
            self._store.deletions.add(Deletion(now_ms, "enriched", name, first, length, rows, why))

    def _write_receipt(self, definition: Definition, gone: tuple[int, int, int], why: Why) -> None:
        rows, first, last = gone
        length = last - first + definition.grid.width
        now_ms = self._device.clock.now_ms()
        self._store.deletions.add_up(Deletion(now_ms, "enriched", definition.name, first, length, rows, why))

    # --- memory ----------------------------------------------------------------------------

    def _load(self, definition: Definition) -> _Kept:
        if self._undone != self._store.undone:
            self._undone = self._store.undone
            self._kept = {}
            self.changes += 1
        kept = self._kept.get(definition.name)
        if kept is None:
            built = self._store.features.built().get(definition.name)
            since, floor = (0, 0) if built is None else built[1:]
            kept = self._kept[definition.name] = _Kept(self._store.features.load(definition.name), since, floor)
        return kept

    def _save(self, definition: Definition, kept: _Kept, touched: Iterable[tuple[int, str]]) -> None:
        self._write(self._rows(definition, kept, touched, self._shift()))

    def _write(self, rows: Sequence[FeatureRow]) -> None:
        if rows:
            self._store.features.save(rows)
            self.changes += 1

    def _rows(
        self, definition: Definition, kept: _Kept, touched: Iterable[tuple[int, str]], shift: int
    ) -> list[FeatureRow]:
        name, states, partial = definition.name, kept.states, kept.partial
        life = definition.grid.width + definition.grid.kept + shift
        rows = [
            FeatureRow(name, start, key, start + life, start in partial, states[start][key]) for start, key in touched
        ]
        if rows:
            kept.value = None
        return rows

    def _shift(self) -> int:
        """Retention time less wall time, in seconds."""
        return (self._layer.clock.now_ms() - self._device.clock.now_ms()) // 1000


def _is_same(definition: Definition, built: Built) -> bool:
    return definition.state_version == built.state_version


def _by_bucket(definition: Definition, events: Sequence[Event]) -> dict[int, list[Event]]:
    parts: dict[int, list[Event]] = {}
    for event in events:
        parts.setdefault(definition.grid.bucket(event.time_ms), []).append(event)
    return parts
