"""Whether senders keep what a policy's `contracts` promise of their events: the refused share, and how late they come.

Observed over the present day and the one before it (24 to 48 hours), in a few integers a signal. Latency is event
time → arrival, in buckets that double; what a promise is held to is counted exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy

DAY_MS = 86_400_000
MOST = 95  # percent of events that a promised latency is about
_FINEST_MS = 125
_BUCKETS = 28  # the last begins at about half a year


class Observed(msgspec.Struct):
    """What was seen of one signal in one stretch of time."""

    accepted: int = 0
    refused: int = 0
    in_time: int = 0
    latencies: Annotated[list[int], msgspec.Meta(min_length=_BUCKETS, max_length=_BUCKETS)] = msgspec.field(
        default_factory=lambda: [0] * _BUCKETS
    )

    def __add__(self, other: Observed) -> Observed:
        return Observed(
            self.accepted + other.accepted,
            self.refused + other.refused,
            self.in_time + other.in_time,
            [mine + theirs for mine, theirs in zip(self.latencies, other.latencies, strict=True)],
        )

    @property
    def arrivals(self) -> int:
        """Events whose latency is known."""
        return sum(self.latencies)


class _Days(msgspec.Struct):
    """Two stretches of one signal, and the promise they were counted under."""

    latency: str | None
    since_ms: int
    now: Observed = msgspec.field(default_factory=Observed)
    before: Observed = msgspec.field(default_factory=Observed)

    def at(self, now_ms: int) -> Observed:
        """The present stretch; a day later, or where the clock was set back, another one."""
        age_ms = now_ms - self.since_ms
        if not 0 <= age_ms < DAY_MS:
            self.before = self.now if 0 <= age_ms < 2 * DAY_MS else Observed()
            self.now, self.since_ms = Observed(), now_ms
        return self.now


class Contracts:
    """Observations of every signal with a contract."""

    def __init__(self, policy: Policy, now_ms: int, kept: Any = None) -> None:
        self.is_news = False  # whether anything was observed since this was last kept
        self._contracts = policy.contracts
        self._promised_ms = {
            name: None if contract.latency is None else seconds(contract.latency) * 1000
            for name, contract in policy.contracts.items()
        }
        remembered = _read(kept)
        self._days = {
            name: days if days is not None and days.latency == contract.latency else _Days(contract.latency, now_ms)
            for name, contract in policy.contracts.items()
            for days in [remembered.get(name)]
        }

    def __bool__(self) -> bool:
        """Whether there is anything to observe."""
        return bool(self._contracts)

    def accept(self, signal: str, time_ms: int, now_ms: int) -> None:
        """An event of this signal came in at `now_ms` that happened at `time_ms`."""
        days = self._days.get(signal)
        if days is None:
            return
        seen, late_ms, promised_ms = days.at(now_ms), max(now_ms - time_ms, 0), self._promised_ms[signal]
        self.is_news = True
        seen.accepted += 1
        seen.in_time += promised_ms is None or late_ms <= promised_ms
        seen.latencies[min((late_ms // _FINEST_MS).bit_length(), _BUCKETS - 1)] += 1

    def refuse(self, signal: str, now_ms: int) -> None:
        """An event of this signal was refused."""
        days = self._days.get(signal)
        if days is not None:
            self.is_news = True
            days.at(now_ms).refused += 1

    def to_keep(self) -> Any:
        """All of it as builtins, for one small row."""
        return msgspec.to_builtins(self._days)

    def describe(self, now_ms: int) -> dict[str, dict[str, Any]]:
        """By signal: what was observed, whether the contract is kept (None: nothing came), and why not."""
        return {name: self._judge(name, days.at(now_ms) + days.before) for name, days in self._days.items()}

    def _judge(self, name: str, seen: Observed) -> dict[str, Any]:
        contract = self._contracts[name]
        events = seen.accepted + seen.refused
        share = seen.refused / events if events else None
        broken = []
        if share is not None and contract.max_refused is not None and share > contract.max_refused:
            broken.append(
                f"{seen.refused} of {events} events refused, at most {100 * contract.max_refused:g} % promised"
            )
        if contract.latency is not None and 100 * seen.in_time < MOST * seen.arrivals:
            came = f"{seen.arrivals - seen.in_time} of {seen.arrivals} events came later than {contract.latency}"
            broken.append(f"{came}, at most {100 - MOST} % may")
        return {
            "events": events,
            "refused": seen.refused,
            "refused_share": share,
            "latency_p95_ms": _percentile(seen.latencies),
            "kept": None if events == 0 else not broken,
            "why": "; ".join(broken) or ("nothing came in yet" if events == 0 else "as promised"),
        }


def _read(kept: Any) -> dict[str, _Days]:
    """What another run kept; nothing where another version wrote it in another form."""
    try:
        return msgspec.convert(kept, dict[str, _Days])
    except msgspec.ValidationError:
        return {}


def _percentile(latencies: list[int]) -> int | None:
    """Upper edge of the bucket below which `MOST` percent lie; None where nothing came."""
    wanted, below = MOST * sum(latencies), 0
    for bucket, count in enumerate(latencies):
        below += count
        if count and 100 * below >= wanted:
            return _FINEST_MS << bucket
    return None
