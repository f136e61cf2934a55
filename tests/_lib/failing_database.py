"""A database for the aggregator's store that fails at one statement of the test's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_aggregator.store.database import find_database

if TYPE_CHECKING:
    from collections.abc import Callable


class Failing:
    """Raises what `fault` makes before the call numbered `fail_at`, or after it if `late`; counts calls from 1."""

    def __init__(self, where: str, fault: Callable[[], BaseException]) -> None:
        self._database = find_database(where)
        self.fault = fault
        self.name = self._database.name
        self.calls = 0
        self.fail_at: int | None = None
        self.late = False

    def exists(self):
        return self._database.exists()

    def connect(self, *, read_only=False):
        return FailingConnection(self, self._database.connect(read_only=read_only))


class FailingConnection:
    """Every method of the real one, and a fault where the test wants it."""

    def __init__(self, owner: Failing, connection) -> None:
        self._owner = owner
        self._connection = connection

    def __getattr__(self, name):
        method = getattr(self._connection, name)
        if name in {"close", "rollback", "is_usable"}:
            return method

        def call(*arguments):
            self._owner.calls += 1
            fails = self._owner.calls == self._owner.fail_at
            if fails and not self._owner.late:
                raise self._owner.fault()
            result = method(*arguments)
            if fails:
                raise self._owner.fault()
            return result

        return call
