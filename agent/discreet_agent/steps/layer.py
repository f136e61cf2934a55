"""The raw layer as the steps use it: when events arrive, which ids are known, which keys they need."""

from __future__ import annotations

import secrets
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING

from discreet_agent.known_ids import WINDOW_SECONDS, Digester, KnownIds, split_digests
from discreet_agent.retention_clock import HighWater, RetentionClock
from discreet_agent.store.raw import Arrival, by_bucket
from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from discreet_agent.event import Event
    from discreet_agent.steps.device import Device
    from discreet_agent.store.keys import Bucket
    from discreet_agent.store.raw import Gone
    from discreet_agent.store.store import Store

_FACT = "retention_clock"


class RawLayer:
    """One device's raw events on their way in and out."""

    def __init__(self, device: Device, store: Store) -> None:
        self._store = store
        kept = store.recall(_FACT)
        self.clock = RetentionClock(device.clock, None if kept is None else HighWater(*kept))
        self._digest = Digester(device.secret)
        self._known: KnownIds | None = None
        self._live: dict[Bucket, Bucket] | None = None
        self._closed: set[Bucket] = set()  # not marked on disk yet
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        self.retention = {name: seconds(signal.retention) for name, signal in device.rules.signals.items()}

    # --- arriving --------------------------------------------------------------------------

    @property
    def boot(self) -> int:
        """This boot's name as a number."""
        digest = blake2b(self._device.clock.boot_id().encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1

    @property
    def is_dated(self) -> bool:
        """Whether the wall clock may date events: it is not known to be wrong."""
        return not self.clock.is_wall_doubtful

    def arrival(self) -> Arrival:
        """Now, by every clock there is."""
        clock = self._device.clock
        return Arrival(self.boot, clock.boot_ms(), clock.now_ms(), self.clock.now_ms(), is_dated=self.is_dated)

    def bucketed(self, events: Sequence[Event], arrival: Arrival) -> dict[Bucket, list[Event]]:
        """Events by bucket, each bucket's key on disk. Raises RetryableError."""
        stretches = by_bucket(events, self.retention, arrival)
        grouped = {self._live_bucket(stretch): group for stretch, group in stretches.items()}
        self._store.keys.ensure(grouped)
        return grouped

    def _live_bucket(self, stretch: Bucket) -> Bucket:
        """The bucket of this stretch that takes events; a new one where the last is being forgotten or lost its key."""
        if self._live is None:
            keys = self._store.keys
            self._live = {
                kept.bucket._replace(serial=0): kept.bucket
                for kept in self._store.raw.buckets()
                if kept.doomed is None and kept.bucket not in self._closed and keys.find(kept.bucket) is not None
            }
        if stretch not in self._live:
            self._live[stretch] = stretch._replace(serial=1 + secrets.randbelow(2**31))
        return self._live[stretch]

    def append(
        self,
        grouped: dict[Bucket, list[Event]],
        arrival: Arrival,
        digests: Mapping[tuple[str, str], bytes] | None = None,
    ) -> None:
        """Store what `bucketed` returned; within a transaction. `digests`: those of (sender, id) made already."""
        for bucket, events in grouped.items():
            said = [(event.sender, event.id) for event in events if event.id is not None]
            ids = [self.digest(*one) for one in said] if digests is None else [digests[one] for one in said]
            self._store.raw.append(bucket, self.retention[bucket.signal], arrival, events, ids)

    def seal_old(self) -> None:
        """Seal what a version that did not seal has left; what left the policy since then is not kept."""
        if not self._store.raw.has_unsealed():
            return
        arrival = self.arrival()
        with self._store.transaction():
            events = [event for event in self._store.raw.unsealed() if event.signal in self.retention]
            self.append(self.bucketed(events, arrival), arrival)

    # --- ids -------------------------------------------------------------------------------

    def digest(self, sender: str, event_id: str) -> bytes:
        """What an id is known by."""
        return self._digest(sender, event_id)

    def is_known(self, digest: bytes) -> bool:
        """Whether an event with this id came in lately."""
        return digest in self._known_ids()

    def learn(self, digests: Iterable[bytes]) -> None:
        """Know these from now on; once they are on disk."""
        digests = list(digests)
        if digests:
            self._known_ids().add(digests, self.clock.now_ms() // 1000)

    def keep_ids(self, gone: Sequence[Gone]) -> None:
        """Ids stay known for their window, though their blocks go: a resend must not count twice."""
        since = self.clock.now_ms() // 1000 - WINDOW_SECONDS
        young = [block for block in gone if block.arrived >= since and block.ids]
        if young:
            self._store.seen.keep(max(block.arrived for block in young), b"".join(block.ids for block in young))

    def forget_ids(self) -> None:
        """Let go of ids that came before the window; what a purge forgot is looked up anew."""
        if self._known is not None:
            self._known.forget(self.clock.now_ms() // 1000 - WINDOW_SECONDS)

    def close_buckets(self, *closed: Bucket) -> None:
        """Some are being forgotten, these among them: new events go elsewhere."""
        self._live = None
        self._closed.update(closed)

    def look_up_anew(self) -> None:
        """Ids were forgotten: read from disk again which ones are left."""
        self._known = None

    def _known_ids(self) -> KnownIds:
        if self._known is None:
            self._known = KnownIds()
            since = self.clock.now_ms() // 1000 - WINDOW_SECONDS
            stored = [item for item in self._store.raw.ids_since(since) if item[1]]
            for arrived, digests in chain(self._store.seen.kept(), reversed(stored)):
                self._known.add(split_digests(digests), arrived)
        return self._known

    # --- time ------------------------------------------------------------------------------

    def save_clock(self) -> None:
        """Write down the retention clock; within a transaction."""
        if self.clock.is_news:
            self.write_clock()

    def write_clock(self) -> None:
        """The same, news or not: before the agent stops."""
        mark = self.clock.save()
        self._store.remember(_FACT, [getattr(mark, name) for name in mark.__struct_fields__])

    def keep_clock(self) -> None:
        """The same in its own transaction, if it is news."""
        if self.clock.is_news:
            with self._store.transaction():
                self.save_clock()
