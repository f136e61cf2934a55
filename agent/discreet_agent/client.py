"""Events from a Python program to the agent of its device. Standard library only: copying this one file is enough.

    telemetry = Client()
    telemetry.emit("door.opened", "1-0-0", {"seconds": 3, "side": "left"})

`emit` never waits for the agent and never raises, whatever is wrong with agent, socket or values: what cannot be sent
is dropped and counted (`stats`). A thread sends in batches. What was not answered is sent again after a reconnect,
under the same ids, so that nothing is counted twice. Memory is bounded.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import socket
import threading
import time as clock
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Any, Self

# Why an event was dropped: one of these, or the agent's own reason (docs/operations.md, Refusals).
QUEUE_FULL = "QUEUE_FULL"  # emitted faster than the agent takes it, or no agent for too long
NOT_JSON = "NOT_JSON"  # fields that are no numbers, text (of whole characters) or true/false
TOO_LARGE = "TOO_LARGE"  # an event of more than 64 KiB
NO_AGENT = "NO_AGENT"  # not answered when the client was closed
CLOSED = "CLOSED"  # emitted after that
NO_THREAD = "NO_THREAD"  # the interpreter is shutting down, or threads are exhausted

MAX_EVENT_BYTES = 65_536
BATCH_EVENTS = 500
BATCH_BYTES = 131_072  # less than a connection's own share of the agent's memory
LINGER_SECONDS = 0.05  # an event waits so long for company
ANSWER_SECONDS = 10.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 30.0  # for a reconnect; each is drawn anew (full jitter)

_LATER, _KNOWN = "STORE_UNAVAILABLE", "DUPLICATE"  # the refusal that passes, and the one that a resend may well meet


@dataclass(frozen=True)
class Stats:
    """Events since the client was made: on the agent's disk, waiting here, dropped by reason, sent more than once."""

    sent: int
    waiting: int
    dropped: dict[str, int]
    resent: int


class Client:
    """One for a process is enough, for all its threads; a forked child begins anew. A context manager; closed at exit.

    `path` is the agent's socket (default: where the agent puts it), `token` what the policy knows this sender by.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        token: str = "",
        max_events: int = 10_000,
        max_bytes: int = 4_194_304,
    ) -> None:
        self._path, self._token = path, token
        self._max_events, self._max_bytes = max_events, max_bytes
        self._begin()
        _clients.add(self)

    def _begin(self) -> None:
        """Everything that a forked child does not share with its parent."""
        self._changed = threading.Condition(threading.RLock())  # a signal handler may emit in the midst of an emit
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()  # None: do not linger
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._wire = _Wire(self._path, self._token)
        self._prefix, self._numbers = secrets.token_hex(8), count(1)
        self._accepted = self._finished = self._bytes = self._sent = self._resent = 0
        self._dropped: dict[str, int] = {}
        self._is_closed = self._has_given_up = False

    # --- what an app calls ---------------------------------------------------------------------

    def emit(
        self,
        signal: str,
        version: str,
        fields: Mapping[str, float | str | bool] | None = None,
        *,
        time: int | str | None = None,
        id: str | None = None,  # noqa: A002 - as on the wire
    ) -> str | None:
        """Queue one event; returns its id, or None where it was dropped. `time`: ms since 1970, RFC 3339, else now."""
        return self._put({"signal": signal, "version": version, "time": time, "fields": fields or {}, "id": id})

    def emit_many(self, events: Iterable[Mapping[str, Any]]) -> list[str | None]:
        """Queue events in the form of event lines, `time` and `id` left out at will; returns ids as `emit` does."""
        return [self._put(event) for event in events]

    def retract(self, event_id: str, signal: str, version: str) -> str | None:
        """Queue a correction: the event with this id, emitted by this sender, shall not count."""
        return self._put({"signal": signal, "version": version, "retracts": event_id})

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything emitted so far was answered or dropped; whether it was, within so many seconds."""
        with self._changed:
            target = self._accepted
            self._hurry.set()
            self._queue.put(None)
            return self._changed.wait_for(lambda: self._finished >= target or self._has_given_up, timeout) and (
                self._finished >= target
            )

    def close(self, timeout: float = 2.0) -> None:
        """Send what waits, as far as the time suffices and an agent is there; drop the rest, counted. Idempotent."""
        with self._changed:
            was_closed, self._is_closed = self._is_closed, True
        if was_closed:
            return
        self.flush(timeout)
        with self._changed:
            thread, self._has_given_up = self._thread, True
        if thread is not None:
            self._hurry.set()
            self._queue.put(None)
            self._wire.interrupt()
            thread.join(1.0)
        with self._changed:
            left, self._finished = self._accepted - self._finished, self._accepted
            if left:
                self._drop(NO_AGENT, left)

    def stats(self) -> Stats:
        """Counts until now."""
        with self._changed:
            return Stats(self._sent, self._accepted - self._finished, dict(self._dropped), self._resent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- into the queue ------------------------------------------------------------------------

    def _put(self, event: Mapping[str, Any]) -> str | None:
        try:
            identity, line = self._encode(event)
        except Exception:  # noqa: BLE001 - whatever the app's own values raise must not reach the app
            self._drop(NOT_JSON)
            return None
        return identity if self._accept(line) else None

    def _encode(self, event: Mapping[str, Any]) -> tuple[str, bytes]:
        said = dict(event)
        values = [*(said.get("fields") or {}).values(), *(value for key, value in said.items() if key != "fields")]
        if not all(value is None or isinstance(value, (str, int, float)) for value in values):
            raise TypeError  # the agent would refuse its whole line
        identity = said["id"] = said.get("id") or f"{self._prefix}-{next(self._numbers):x}"
        if said.get("time") is None:
            said["time"] = clock.time_ns() // 1_000_000
        line = json.dumps(said, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return (
            identity,
            line.encode(),
        )  # raises for half a surrogate pair, of which the agent would refuse its whole line

    def _accept(self, line: bytes) -> bool:
        with self._changed:
            reason = self._why_not(line)
            if reason is not None:
                self._drop(reason)
                return False
            self._accepted += 1
            self._bytes += len(line)
        self._queue.put(line)
        return True

    def _why_not(self, line: bytes) -> str | None:
        if self._is_closed:
            return CLOSED
        if len(line) > MAX_EVENT_BYTES:
            return TOO_LARGE
        if self._accepted - self._finished >= self._max_events or self._bytes + len(line) > self._max_bytes:
            return QUEUE_FULL
        if self._thread is not None:
            return None
        thread = threading.Thread(target=self._run, name="discreet", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return NO_THREAD
        self._thread = thread
        return None

    def _drop(self, reason: str, number: int = 1) -> None:
        with self._changed:
            self._dropped[reason] = self._dropped.get(reason, 0) + number

    # --- the thread: out of the queue, to the agent --------------------------------------------

    def _run(self) -> None:
        left_over: bytes | None = None
        while not self._has_given_up:
            batch, left_over = self._gather(left_over)
            self._deliver(batch)
        self._wire.close()

    def _gather(self, first: bytes | None) -> tuple[list[bytes], bytes | None]:
        """One batch, and what no longer went into it. Waits for a first event, then a little for its company."""
        line = first if first is not None else self._queue.get()
        batch: list[bytes] = []
        size, deadline = 0, clock.monotonic() + LINGER_SECONDS
        while line is not None:
            if size + len(line) > BATCH_BYTES or len(batch) == BATCH_EVENTS:
                return batch, line
            batch.append(line)
            size += len(line) + 1
            try:
                line = self._queue.get(timeout=max(0.0, deadline - clock.monotonic()))
            except Empty:
                break
        return batch, None

    def _deliver(self, batch: list[bytes]) -> None:
        """Until every event of it was answered for good, or the client is closed and no agent is there."""
        wait, is_repeated = FIRST_WAIT_SECONDS, False
        while batch and not self._has_given_up:
            refused = self._wire.exchange(batch)
            if is_repeated and self._wire.has_said:
                with self._changed:
                    self._resent += len(batch)
            if refused is not None:
                batch = self._settle(batch, refused, is_repeated=is_repeated)
            is_repeated = is_repeated or self._wire.has_said
            if batch:
                self._pause(wait)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _pause(self, longest: float) -> None:
        """A drawn time, so that a device's programs do not all come back at once; shorter where somebody waits."""
        with self._changed:
            if self._is_closed:
                self._has_given_up = True
                self._changed.notify_all()
                return
        if self._hurry.wait(longest * secrets.randbelow(1001) / 1000):
            self._hurry.clear()

    def _settle(self, batch: list[bytes], refused: dict[int, str], *, is_repeated: bool) -> list[bytes]:
        """Count what was answered; returns what is to be sent again."""
        later = [line for index, line in enumerate(batch) if refused.get(index) == _LATER]
        with self._changed:
            if self._has_given_up:  # `close` has counted these as unanswered
                return []
            for reason in refused.values():
                if reason == _KNOWN and is_repeated:
                    self._sent += 1
                elif reason != _LATER:
                    self._drop(reason)
            self._sent += len(batch) - len(refused)
            self._finished += len(batch) - len(later)
            self._bytes -= sum(map(len, batch)) - sum(map(len, later))
            self._changed.notify_all()
        return later


class _Wire:
    """One connection to the agent, made when it is needed; trouble of any kind ends it."""

    def __init__(self, path: str | os.PathLike[str] | None, token: str) -> None:
        self._path, self._token = path, token
        self._link: socket.socket | None = None
        self._answers = b""
        self.has_said = False  # whether the last batch may have reached the agent

    def exchange(self, batch: list[bytes]) -> dict[int, str] | None:
        """Send a batch; returns the reasons of what was refused, by index, or None where no agent's answer came."""
        self.has_said = False
        try:
            link = self._link or self._connect()
            self.has_said = True
            return _refusals(self._ask(link, b'{"events":[' + b",".join(batch) + b"]}\n"), len(batch))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self.close()
            return None

    def _connect(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._link, self._answers = link, b""
        link.settimeout(ANSWER_SECONDS)
        link.connect(os.fspath(self._path) if self._path is not None else _default_path())
        if self._token:
            self._ask(link, json.dumps({"token": self._token}).encode() + b"\n")
        return link

    def _ask(self, link: socket.socket, line: bytes) -> dict[str, Any]:
        link.sendall(line)
        while b"\n" not in self._answers:
            received = link.recv(65_536)
            if not received:
                raise ConnectionResetError
            self._answers += received
        answer, _, self._answers = self._answers.partition(b"\n")
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def interrupt(self) -> None:
        """End a wait for an answer in another thread."""
        link = self._link
        if link is not None:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        """Idempotent; also of a forked child's copy, which the parent does not notice."""
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _refusals(answer: dict[str, Any], events: int) -> dict[int, str]:
    refused = {int(item["index"]): str(item["reason"]) for item in answer.get("refused", ())}
    if int(answer["ok"]) + len(refused) != events:  # the line as a whole
        return dict.fromkeys(range(events), next(iter(refused.values()), NOT_JSON))
    return refused


def _default_path() -> str:
    """Where the agent listens unless it is told otherwise: the user's own, else the machine's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = os.path.join(runtime, "discreet", "agent.sock") if runtime else ""  # noqa: PTH118 - pathlib costs start time
    return own if own and os.path.exists(own) else "/run/discreet/agent.sock"  # noqa: PTH110


_clients: WeakSet[Client] = WeakSet()


def _close_all() -> None:
    for client in list(_clients):
        client.close(1.0)


def _forget_parent() -> None:
    """In a forked child: what waits is the parent's to send, and so is its connection."""
    for client in list(_clients):
        was_closed = client._is_closed
        client._wire.close()
        client._begin()
        client._is_closed = was_closed


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
