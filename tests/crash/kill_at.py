"""Run `discreet` in this process and SIGKILL it at an exact step: kill_at.py TRIGGER N MARK -- ARGUMENTS.

Steps are counted from the first call of the function TRIGGER: every call of and return from a
function of the agent or the aggregator, every call into SQLite and its return, every opening,
renaming and syncing of a file, every publish and acknowledgement. At step N the process kills
itself; what it was doing goes to the file MARK first. The product's code is not touched: this is a profile hook.
"""

import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path

OURS = (os.sep + "discreet_agent" + os.sep, os.sep + "discreet_aggregator" + os.sep)
FILES = {"open", "fsync", "replace"}
PAHO = {"publish", "ack", "subscribe"}


class Countdown:
    """The profile hook."""

    def __init__(self, trigger, steps, mark):
        self.trigger = trigger
        self.remaining = steps
        self.mark = mark
        self.is_counting = False
        self.is_last = threading.Lock()

    def __call__(self, frame, kind, argument):
        name = self._step(frame, kind, argument)
        if name is None:
            return
        if not self.is_counting:
            self.is_counting = kind == "call" and frame.f_code.co_name == self.trigger
            if not self.is_counting:
                return
        self.remaining -= 1
        if self.remaining <= 0 and self.is_last.acquire(blocking=False):  # the MQTT thread counts too
            Path(self.mark).write_text(f"{kind} {name}")
            os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _step(frame, kind, argument):
        """Name of a step that counts, or None."""
        code = frame.f_code
        if kind in {"call", "return"}:
            is_paho = code.co_name in PAHO and "paho" in code.co_filename
            return code.co_name if is_paho or any(part in code.co_filename for part in OURS) else None
        if kind.startswith("c_") and getattr(argument, "__module__", "") == "posix" and argument.__name__ in FILES:
            return f"os.{argument.__name__}"
        is_sqlite = isinstance(getattr(argument, "__self__", None), sqlite3.Connection | sqlite3.Cursor)
        return f"sqlite.{argument.__name__}" if is_sqlite else None


def main():
    separator = sys.argv.index("--")
    trigger, steps, mark = sys.argv[1:separator]
    from discreet_contract.cli.main import main as discreet

    countdown = Countdown(trigger, int(steps), mark)
    threading.setprofile(countdown)
    sys.setprofile(countdown)
    sys.exit(discreet(sys.argv[separator + 1 :]))


if __name__ == "__main__":
    main()
