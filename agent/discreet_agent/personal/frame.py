"""What one evaluation carries along: its context, the flag's name, the clock, and how much work is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from discreet_agent.personal.coerce import LogicError

MOST_WORK = 50_000  # parts of rules, each as often as a loop runs it; about 20 ms
FLAGD = "$flagd"


class Frame:
    """One evaluation. `data` of a rule's part is its own scope: within a loop, the item."""

    __slots__ = ("flag", "now_ms", "root", "work_left")

    def __init__(self, root: Any, flag: str, now_ms: Callable[[], int]) -> None:
        self.root = root
        self.flag = flag
        self.now_ms = now_ms
        self.work_left = MOST_WORK

    def spend(self, work: int) -> None:
        """Raises LogicError where it is too much: rules and contexts of any shape end in time."""
        self.work_left -= work
        if self.work_left < 0:
            raise LogicError("the rule asks too much work of this context")

    def flagd(self) -> dict[str, Any]:
        """What flagd adds to every context, whatever the app put there."""
        return {"flagKey": self.flag, "timestamp": self.now_ms() // 1000}


Step: TypeAlias = Callable[[Any, Frame], Any]
