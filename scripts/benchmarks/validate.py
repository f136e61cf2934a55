"""CPU of validation per event after decoding, for signals of 1, 3 and 10 fields, beside the decoding itself.

Medians of RUNS in turn, so that a drifting machine moves all of them. Process time, not wall time.
"""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.event import Event, EventLine
from discreet_agent.validate import Validator
from discreet_contract.policy.model import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 9
EVENTS = 20_000
NOW_MS = 1_800_000_000_000
TARGET_MICROSECONDS = 5.0
KINDS: tuple[tuple[dict[str, Any], Any], ...] = (
    ({"type": "number", "min": 0, "max": 86_400}, 17.5),
    ({"type": "category", "values": ["news", "drama", "sport", "music", "other"]}, "sport"),
    ({"type": "boolean"}, True),
    ({"type": "text", "max_length": 64}, "something somebody typed"),
)


def main() -> None:
    """Measure and print one table."""
    cases = {
        f"{fields} fields, time as {form}{extra}": _case(fields, moment, undeclared=bool(extra))
        for fields in (1, 3, 10)
        for form, moment in (("integer", NOW_MS), ("text", "2027-01-15T08:00:00.000Z"))
        for extra in ("", ", 2 undeclared")
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(RUNS):
        for name, (decode, check) in cases.items():
            measured[name].append((_microseconds(decode), _microseconds(check)))
    print("| event | decode, µs | validate, µs |\n| --- | --- | --- |")
    for name, runs in measured.items():
        decoding, checking = (median(column) for column in zip(*runs, strict=True))
        over = "" if checking <= TARGET_MICROSECONDS else " (over the target)"
        print(f"| {name} | {decoding:.2f} | {checking:.2f}{over} |")


def _case(fields: int, moment: int | str, *, undeclared: bool) -> tuple[Callable[[], object], Callable[[], object]]:
    kinds = {f"field_{number}": KINDS[number % len(KINDS)] for number in range(fields)}
    validator = Validator(_policy({name: declared for name, (declared, _) in kinds.items()}))
    values = {name: value for name, (_, value) in kinds.items()}
    values |= {"more": 1, "and_more": "text"} if undeclared else {}
    raw = msgspec.json.encode({"signal": "app.used", "version": "1-0-0", "time": moment, "fields": values})
    decoder = msgspec.json.Decoder(EventLine)
    line = decoder.decode(raw)
    if not isinstance(validator.check(line, NOW_MS), Event):
        raise SystemExit("the benchmark's own event was refused")
    return lambda: decoder.decode(raw), lambda: validator.check(line, NOW_MS)


def _policy(fields: dict[str, dict[str, Any]]) -> Policy:
    signal = {"version": "1-0-0", "role": "both", "kind": "outcome", "sensitivity": "technical", "why": "a benchmark"}
    signal |= {"owner": "bench@example.org", "expires": "2099-01-01", "retention": "3d", "fields": fields}
    return msgspec.convert(
        {
            "discreet": 1,
            "fleet": "bench",
            "version": 1,
            "release": {"author": "bench@example.org", "reason": "a benchmark"},
            "consent": "managed",
            "aggregator": {"keys": [{"id": "k", "public_key": "00" * 32, "from": "2020-01-01", "until": "2099-01-01"}]},
            "signals": {"app.used": signal},
        },
        Policy,
    )


def _microseconds(step: Callable[[], object]) -> float:
    gc.disable()
    began = time.process_time_ns()
    for _ in range(EVENTS):
        step()
    ended = time.process_time_ns()
    gc.enable()
    return (ended - began) / EVENTS / 1000


if __name__ == "__main__":
    main()
