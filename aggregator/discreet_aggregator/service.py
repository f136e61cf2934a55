"""`discreet aggregator run`: start fast or fail loudly, run for ever, drain at the end.

One worker runs in this process. Several are processes of their own, looked after here: one
that ends is started again, after a growing wait if it ends at once. They share the
subscription and the database, and need nothing else of one another.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from discreet_aggregator import __version__
from discreet_aggregator.board import Board
from discreet_aggregator.exposition import exposed
from discreet_aggregator.keys import load_keys
from discreet_aggregator.policies import load_policies
from discreet_aggregator.sessions import retire_sessions
from discreet_aggregator.signals import stopped_by_signals
from discreet_aggregator.store.store import Store
from discreet_aggregator.worker import run_worker
from discreet_contract.broker import backoff_seconds
from discreet_contract.log import configure_logging
from discreet_contract.state_folder import hold_state_folder

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from discreet_aggregator.config import AggregatorConfig

_STEADY_SECONDS = 60.0  # a worker that ran as long is started again at once
_STOP_SECONDS = 20.0  # to commit, answer and acknowledge what arrived; systemd's patience is 30
_LOOK_SECONDS = 0.2

_log = structlog.get_logger()


def run(config: AggregatorConfig, config_file: Path) -> None:
    """Serve the fleet until SIGTERM or SIGINT. Raises ConfigError, SignatureRefusedError or StoreError at start."""
    configure_logging(json=config.log_json)
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(hold_state_folder(Path(config.state_dir), who="aggregator"))
        stack.enter_context(stopped_by_signals(stop))
        stack.enter_context(retire_sessions(config))
        _log.info("started", version=__version__, fleet=config.fleet, workers=config.workers)
        board = Board.made()
        stack.callback(board.close)
        children = [_Child(config_file, number, board) for number in range(1, config.workers + 1)]
        is_alone = config.workers == 1
        stack.enter_context(
            exposed(
                config,
                lambda: 1 if is_alone else sum(child.is_alive for child in children),
                lambda: board.connected(config.workers),
            )
        )
        if is_alone:
            run_worker(config, 1, stop, board)
        else:
            _check(config)
            _look_after(children, stop)
    _log.info("stopped")


def _check(config: AggregatorConfig) -> None:
    """What would end every worker ends the start instead."""
    load_policies(config.policies, config.roots, config.fleet)
    load_keys(Path(config.keys_dir))
    with Store(config.where) as store:  # brings it up to date before any worker meets it
        store.claim(config.fleet)


def _look_after(children: list[_Child], stop: threading.Event) -> None:
    with ExitStack() as stack:
        for child in children:
            stack.enter_context(child)
        while not stop.wait(_LOOK_SECONDS):
            for child in children:
                child.keep_alive()
        for child in children:
            child.ask_to_stop()


class _Child:
    """One worker's process, started again whenever it ends. A context manager."""

    def __init__(self, config_file: Path, number: int, board: Board) -> None:
        words = (str(config_file), str(number), str(board.descriptor))
        self._command = [sys.executable, "-m", "discreet_aggregator.worker", *words]
        self._board = board
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._failures = 0
        self._start_at = 0.0

    def __enter__(self) -> Self:
        self.keep_alive()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._close_input(process)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("worker does not end, killed: nothing acknowledged is lost", worker=self._number)
            process.kill()
            process.wait()

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        process = self._process
        return process is not None and process.poll() is None

    def keep_alive(self) -> None:
        """Start the process, again if it has ended."""
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._close_input(self._process)
            self._process = None
            self._board.tell(self._number, is_connected=False)
            self._failures = 0 if now - self._began >= _STEADY_SECONDS else self._failures + 1
            self._start_at = now + (backoff_seconds(self._failures) if self._failures > 1 else 0)
            _log.warning("worker ended, starting it again", worker=self._number, code=code)
        if now >= self._start_at:
            self._began = now
            self._process = subprocess.Popen(  # noqa: S603 our own module
                self._command, stdin=subprocess.PIPE, pass_fds=[self._board.descriptor]
            )

    def ask_to_stop(self) -> None:
        """It drains while the others do."""
        if self._process is not None:
            self._close_input(self._process)

    @staticmethod
    def _close_input(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()
