"""One worker under a sampling profile: ingest_profile.py CONFIG OUT NUMBER; ends when its standard input does.

Every millisecond the running function is looked at, and the CPU and wall time since the last look are its step's: a
call into C that outlasts many looks loses none of its time. What a look costs is charged to the step it looked at,
so rates are measured without it.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

PERIOD_SECONDS = 0.001
TRANSACTION = (
    "admit",
    "dedupe",
    "archive",
    "accumulate",
    "commit",
    "other",
)  # between getting the lock and letting it go
STEPS = ("MQTT", "unseal", "decode", "wait for the lock", *TRANSACTION, "receipts")

# Innermost frame first, the first rule that fits: (end of the file's path, function or "" for all of them) → step.
_RULES: dict[tuple[str, str], str] = {
    ("discreet_contract/envelope.py", ""): "unseal",
    ("nacl/public.py", ""): "unseal",
    ("nacl/bindings/crypto_box.py", ""): "unseal",
    ("discreet_aggregator/unseal.py", ""): "decode",
    ("discreet_contract/wire.py", "decode_report"): "decode",
    ("discreet_contract/wire.py", ""): "receipts",
    ("discreet_aggregator/answer.py", ""): "receipts",
    ("discreet_aggregator/admit.py", ""): "admit",
    ("discreet_aggregator/pipeline.py", "_admit_in_order"): "admit",
    ("store/sqlite.py", "begin"): "wait for the lock",
    ("store/postgres.py", "begin"): "wait for the lock",
    ("store/sqlite.py", "commit"): "commit",
    ("store/postgres.py", "commit"): "commit",
    ("store/seen.py", ""): "dedupe",
    ("store/runs.py", ""): "dedupe",
    ("store/transaction.py", "remember_verdicts"): "dedupe",
    ("store/archive.py", "_add_sums"): "accumulate",
    ("store/archive.py", "_merged"): "accumulate",
    ("discreet_aggregator/accumulate.py", ""): "accumulate",
    ("store/archive.py", ""): "archive",
    ("discreet_aggregator/archive.py", ""): "archive",
    ("paho/mqtt/client.py", "publish"): "receipts",
    ("discreet_aggregator/ingest.py", ""): "MQTT",
}
_SERVING = ("discreet_aggregator/ingest.py", "serve")
_WORKING = ("discreet_aggregator/pipeline.py", "process")


class Sampler:
    """Time by step and by function. Counts nothing before the first batch, and nothing after the last."""

    def __init__(self) -> None:
        self.cpu: Counter[str] = Counter()
        self.wall: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()
        self._since_batch: list[tuple[str, str, float, float]] = []
        self._begun = False
        self._last = (time.process_time(), time.monotonic())

    def start(self) -> None:
        """Look every PERIOD_SECONDS from now on."""
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, PERIOD_SECONDS, PERIOD_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _look(self, _number: int, frame: FrameType | None) -> None:
        now = (time.process_time(), time.monotonic())
        cpu, wall, self._last = now[0] - self._last[0], now[1] - self._last[1], now
        stack = list(_stack(frame))
        if not any(_is(place, _SERVING) for place in stack):
            return
        working = any(_is(place, _WORKING) for place in stack)
        self._begun = self._begun or working
        if self._begun:
            self._since_batch.append((_step(stack), f"{stack[0][0]}:{stack[0][1]}", cpu, wall))
        if working:
            self._take()

    def _take(self) -> None:
        for step, function, cpu, wall in self._since_batch:
            self.cpu[step] += cpu  # type: ignore[assignment] # a Counter of seconds
            self.wall[step] += wall  # type: ignore[assignment]
            self.functions[function] += cpu  # type: ignore[assignment]
        self._since_batch.clear()


def _stack(frame: FrameType | None) -> list[tuple[str, str]]:
    places = []
    while frame is not None:
        places.append((frame.f_code.co_filename, frame.f_code.co_name))
        frame = frame.f_back
    return places


def _is(place: tuple[str, str], rule: tuple[str, str]) -> bool:
    return place[0].endswith(rule[0]) and rule[1] in {"", place[1]}


def _step(stack: list[tuple[str, str]]) -> str:
    for place in stack:
        for rule, step in _RULES.items():
            if _is(place, rule):
                return step
    return "other"


def main() -> None:
    """Run the worker until it is ended, then write what was seen."""
    from discreet_aggregator import worker
    from discreet_aggregator.board import Board

    config, out, number = sys.argv[1:]
    board = Board.made()  # nobody reads it
    sampler = Sampler()
    sampler.start()
    try:
        worker.main(config, number, str(board.descriptor))
    finally:
        sampler.stop()
        top = dict(sampler.functions.most_common(40))
        said = {"cpu": dict(sampler.cpu), "wall": dict(sampler.wall), "functions": top}
        Path(out).write_text(json.dumps(said, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
