"""One worker: a connection to the broker, a store, a pipeline. Policies and keys may change while it runs.

`run_worker` serves until told to stop. With several workers each is a process of its own
(`python -m discreet_aggregator.worker CONFIG NUMBER BOARD`), kept alive by `service.py`; it ends when
its standard input does, so that no worker outlives whoever looks after it.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from discreet_aggregator.board import Board
from discreet_aggregator.config import load_config
from discreet_aggregator.ingest import IngestSettings, ingest
from discreet_aggregator.keys import KeyFolder
from discreet_aggregator.pipeline import Pipeline
from discreet_aggregator.policies import PolicyFiles
from discreet_aggregator.signals import stopped_by_signals
from discreet_aggregator.store.store import Store
from discreet_aggregator.watch import Watch
from discreet_contract.broker import backoff_seconds
from discreet_contract.errors import DiscreetError
from discreet_contract.log import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from discreet_aggregator.config import AggregatorConfig

_COUNTS_SECONDS = 60.0
_LOOK_SECONDS = 2.0
LONGEST_LEAP_MS = (
    14 * 86_400_000
)  # a running aggregator lifts its watermark every minute: more is an outage, or a fault

_log = structlog.get_logger()


def run_worker(config: AggregatorConfig, number: int, stop: threading.Event, board: Board) -> None:
    """Serve the fleet until `stop` is set. Raises ConfigError, SignatureRefusedError or StoreError at start."""
    watch = Watch(PolicyFiles(config.policies, config.roots, config.fleet), KeyFolder(Path(config.keys_dir)))
    with ExitStack() as stack:
        store = stack.enter_context(Store(config.where))
        store.claim(config.fleet)
        leap_ms = None if config.replay_clock else LONGEST_LEAP_MS
        pipeline = Pipeline(store, watch.shelf, watch.keys, config.clock(), config.fleet, longest_leap_ms=leap_ms)
        stack.enter_context(_every(_COUNTS_SECONDS, lambda: _log.info("counts", **dict(pipeline.totals))))
        stack.enter_context(_every(_LOOK_SECONDS, lambda: watch.look(pipeline)))
        _log.info("worker started", policies=len(watch.shelf), keys=len(watch.keys), database=store.name)
        supervise(config, number, pipeline, stop, board)
    _log.info("worker stopped", **pipeline.totals)


def supervise(config: AggregatorConfig, number: int, pipeline: Pipeline, stop: threading.Event, board: Board) -> None:
    """Keep ingest running: a fault of our own drops the connection and is tried again, never a report."""
    settings = IngestSettings(
        config.broker,
        config.fleet,
        config.session(number),
        config.batch,
        config.flush_ms / 1000,
        pipeline.beacon,
        is_shared=config.workers > 1,
        tell=partial(board.tell, number),
    )
    faults = 0
    while not stop.is_set():
        try:
            ingest(settings, pipeline, stop)
        except DiscreetError:  # permanent: somebody has to change something
            raise
        except Exception as exc:  # noqa: BLE001 the supervising loop
            # The type and the place only: an exception's text may carry bytes of an envelope.
            trace = exc.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else ""
            _log.error("fault", kind=type(exc).__name__, place=place)
            stop.wait(backoff_seconds(faults))
            faults += 1


@contextmanager
def _every(period_seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` now and then, in a thread of its own, until the block ends."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(period_seconds):
            try:
                act()
            except Exception as exc:  # noqa: BLE001 a thread that died silently would never be missed
                _log.error("fault", kind=type(exc).__name__, place=act.__qualname__)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _stop_when_orphaned(stop: threading.Event) -> None:
    """Whoever looks after this worker holds the other end of its standard input."""

    def wait() -> None:
        while os.read(0, 1):  # not `sys.stdin`: a thread inside of its lock makes the interpreter's end a fault
            pass
        stop.set()

    threading.Thread(target=wait, daemon=True).start()


def main(config_file: str, number: str, board: str) -> int:
    """Entry of a worker's own process; returns its exit code."""
    config = load_config(Path(config_file))
    configure_logging(json=config.log_json)
    structlog.contextvars.bind_contextvars(worker=int(number))
    stop = threading.Event()
    _stop_when_orphaned(stop)
    try:
        with stopped_by_signals(stop):
            run_worker(config, int(number), stop, Board(int(board)))
    except DiscreetError as exc:
        _log.error("worker ends", problem=str(exc), next_step=exc.hint)
        return int(exc.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
