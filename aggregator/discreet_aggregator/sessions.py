"""Sessions that nobody comes back to: a worker that is no more would still be given its share of the reports.

A shared subscription deals reports out among its sessions, also to one whose client is away
for good. So the number of workers is kept beside the database, and sessions beyond today's are ended.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from discreet_contract.broker import KEEPALIVE_SECONDS, backoff_seconds, new_client
from discreet_contract.files import write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_aggregator.config import AggregatorConfig
    from discreet_contract.broker import Broker

_FILE = "workers"
_ANSWER_SECONDS = 10.0

_log = structlog.get_logger()


@contextmanager
def retire_sessions(config: AggregatorConfig) -> Iterator[None]:
    """End in the background what sessions are left over, tried again until the broker agrees or the block ends."""
    path = Path(config.state_dir) / _FILE
    names = _left_over(config, path)
    if not names:
        write_durably(path, f"{config.workers}\n".encode())
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_retire_all, args=(config, names, path, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _left_over(config: AggregatorConfig, path: Path) -> list[str]:
    try:
        former = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # the first start, or the first of a version that may have several workers
        former = 1
    return sorted(config.sessions(former) - config.sessions(config.workers))


def _retire_all(config: AggregatorConfig, names: list[str], path: Path, done: threading.Event) -> None:
    attempt = 0
    while names and not done.is_set():
        if _retire(config.broker, names[-1]):
            _log.info("session ended", client_id=names.pop())
            attempt = 0
            continue
        done.wait(backoff_seconds(attempt))
        attempt += 1
    if not names:
        write_durably(path, f"{config.workers}\n".encode())


def _retire(broker: Broker, client_id: str) -> bool:
    """Take the session over and leave nothing behind; whether the broker agreed."""
    client = new_client(broker, client_id, reconnect_on_failure=False)
    agreed = threading.Event()

    def connected(_client: object, _data: object, _flags: object, code: object, _properties: object) -> None:
        if not getattr(code, "is_failure", True):
            agreed.set()

    client.on_connect = connected
    try:
        client.connect(broker.host, broker.port, keepalive=KEEPALIVE_SECONDS, clean_start=True)
        client.loop_start()
        return agreed.wait(_ANSWER_SECONDS)
    except (OSError, ValueError):
        return False
    finally:
        client.disconnect()
        client.loop_stop()
