"""What a Python program reads of its device: flags, features. Standard library only: copying this one file is enough.

    reader = Reader()
    if reader.flag("autoplay", False):
        start_the_next_title()
        reader.exposed("autoplay")

Nothing here ever raises or waits for long, whatever is wrong with agent or socket: the app gets its own default.
Reading a flag tells nobody anything; `exposed` says that somebody met its effect, and is sent later where it must be.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time as clock
import weakref
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any, Self

T = TypeVar("T")

_readers: weakref.WeakSet[Reader] = weakref.WeakSet()

ANSWER_SECONDS = 1.0  # for a whole answer
RETRY_SECONDS = 1.0  # after trouble, answers are defaults for so long: an app without an agent is not slowed down
MAX_KEPT_EXPOSURES = 100  # kinds of exposures that wait for an agent; as many go into one line
MAX_COUNT = 1_000_000
MAX_NAME = 64

_PASSES = "STORE_UNAVAILABLE"  # the one refusal after which the same is said again


class Reader:
    """One for a process is enough, for all its threads. A context manager.

    `path` is the agent's socket (default: where the agent puts it), `token` what the policy knows this app by.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, token: str = "") -> None:
        self._path, self._token = path, token
        self._lock = threading.Lock()
        self._link: socket.socket | None = None
        self._answers = b""
        self._rests_until = 0.0
        self._kept: dict[tuple[str, str | None], int] = {}
        _readers.add(self)

    # --- what an app calls ---------------------------------------------------------------------

    def flag(self, key: str, default: T, context: Mapping[str, Any] | None = None) -> T:
        """A flag's value; the default where there is none, or where it is of another type than the default."""
        try:
            answer = self._ask({"query": "evaluate", "flag": key, "context": dict(context or {})})
        except (TypeError, ValueError):  # no mapping
            return default
        value = answer.get("value")
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        return value if value is not None and (default is None or type(value) is type(default)) else default

    def feature(self, name: str, default: Any = None) -> Any:
        """A feature's value: a number, text or true/false, or category → value; the default where there is none."""
        features = self._ask({"query": "features"}).get("features")
        found = features.get(name) if isinstance(features, dict) and isinstance(name, str) else None
        value = found.get("value") if isinstance(found, dict) else None
        return default if value is None else value

    def exposed(self, flag: str, variant: str | None = None) -> bool:
        """Somebody met, or would have met, what this flag does. Whether the agent was told now, not later."""
        what = (flag, variant)
        names = (flag,) if variant is None else what
        if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in names):
            return False  # one that the agent cannot read would take the others with it
        with self._lock:
            if what in self._kept or len(self._kept) < MAX_KEPT_EXPOSURES:
                self._kept[what] = min(self._kept.get(what, 0) + 1, MAX_COUNT)
            self._tell_kept()
            return what not in self._kept

    def close(self) -> None:
        """Tell what is still kept, as far as an agent is there. Idempotent; afterwards it begins anew by itself."""
        with self._lock:
            self._tell_kept()
            self._drop_link()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the wire ------------------------------------------------------------------------------

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._tell_kept()
            return self._exchange(question) or {}

    def _tell_kept(self) -> None:
        if not self._kept:
            return
        exposures = [{"flag": f, "count": n} | ({"variant": v} if v else {}) for (f, v), n in self._kept.items()]
        answer = self._exchange({"query": "track", "exposures": exposures})
        if answer is not None and answer.get("error") != _PASSES:
            self._kept.clear()

    def _exchange(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """One question, one answer; None where no agent gave one."""
        if clock.monotonic() < self._rests_until:
            return None
        try:
            line = json.dumps(question, allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError, RecursionError):
            return None
        try:
            return self._said(self._link or self._connect(), line)
        except (OSError, ValueError, RecursionError):  # the last: an answer as deep as no agent's is
            self._drop_link()
            self._rests_until = clock.monotonic() + RETRY_SECONDS
            return None

    def _connect(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._link, self._answers = link, b""
        link.settimeout(ANSWER_SECONDS)
        link.connect(os.fspath(self._path) if self._path is not None else _default_path())
        if self._token:
            self._said(link, json.dumps({"token": self._token}).encode() + b"\n")
        return link

    def _said(self, link: socket.socket, line: bytes) -> dict[str, Any]:
        ends = clock.monotonic() + ANSWER_SECONDS
        link.settimeout(ANSWER_SECONDS)
        link.sendall(line)
        while b"\n" not in self._answers:
            link.settimeout(max(0.001, ends - clock.monotonic()))
            received = link.recv(65_536)
            if not received:
                raise ConnectionResetError
            self._answers += received
        answer, _, self._answers = self._answers.partition(b"\n")
        decoded = json.loads(answer)
        if not isinstance(decoded, dict):
            raise ValueError  # noqa: TRY004 - handled with all else that is no answer
        return decoded

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _forget_parent() -> None:
    """In a forked child: the connection is its parent's, so is what it kept, and the lock may be a lost thread's."""
    for reader in list(_readers):
        reader._lock = threading.Lock()
        reader._drop_link()
        reader._kept = {}


def _default_path() -> str:
    """Where the agent listens unless it is told otherwise: the user's own, else the machine's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = os.path.join(runtime, "discreet", "agent.sock") if runtime else ""  # noqa: PTH118 - pathlib costs start time
    return own if own and os.path.exists(own) else "/run/discreet/agent.sock"  # noqa: PTH110


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
