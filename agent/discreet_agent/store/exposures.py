"""Which experiments this device was enrolled in, and what it was exposed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3


_MOST_REPORTS = 2**53 - 1  # what JSON carries


class Enrolment(NamedTuple):
    """A device in an arm. `left_ms` None: it still takes part, as long as the experiment runs."""

    experiment: str
    arm: str
    since_ms: int
    left_ms: int | None
    why: str  # it left; "" while it takes part
    refused_ms: int  # the owner's latest no when it was enrolled; another one since ends it


class Exposures:
    """Rows of `enrolments` and `exposures`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def enrolments(self) -> dict[str, Enrolment]:
        """Every enrolment, by experiment."""
        rows = self._connection.execute("SELECT experiment, arm, since_ms, left_ms, why, refused_ms FROM enrolments")
        return {row[0]: Enrolment(*row) for row in rows}

    def enrol(self, enrolment: Enrolment) -> None:
        """Keep or change one."""
        self._connection.execute("INSERT OR REPLACE INTO enrolments VALUES (?, ?, ?, ?, ?, ?)", enrolment)

    def forget_enrolment(self, experiment: str) -> None:
        """No report can name it any more."""
        self._connection.execute("DELETE FROM enrolments WHERE experiment = ?", (experiment,))

    def known(self) -> set[tuple[str, str, str]]:
        """(experiment, arm, phase) of every exposure."""
        return set(self._connection.execute("SELECT experiment, arm, phase FROM exposures").fetchall())

    def note(self, experiment: str, arm: str, phase: str, at_ms: int, policy_version: int) -> None:
        """An exposure for the first time."""
        self._connection.execute(
            "INSERT INTO exposures VALUES (?, ?, ?, ?, ?, 0)", (experiment, arm, phase, at_ms, policy_version)
        )

    def count(self, experiment: str, arm: str, phase: str, times: int) -> None:
        """How often an exposure was reported; an app that says so without end finds the number full, not the store."""
        self._connection.execute(
            "UPDATE exposures SET reports = min(reports + ?, ?) WHERE experiment = ? AND arm = ? AND phase = ?",
            (times, _MOST_REPORTS, experiment, arm, phase),
        )

    def of(self, experiment: str) -> list[tuple[str, str, int, int, int]]:
        """(arm, phase, ms of the first, policy version then, reports) of an experiment, oldest first."""
        return self._connection.execute(
            "SELECT arm, phase, at_ms, policy_version, reports FROM exposures WHERE experiment = ? ORDER BY at_ms",
            (experiment,),
        ).fetchall()

    def forget(self, experiment: str, before_ms: int | None = None) -> int:
        """Forget an experiment's exposures, or older ones; returns how many went."""
        return self._connection.execute(
            "DELETE FROM exposures WHERE experiment = ? AND (? IS NULL OR at_ms < ?)",
            (experiment, before_ms, before_ms),
        ).rowcount

    def experiments(self) -> list[str]:
        """Every experiment with exposures."""
        return [name for [name] in self._connection.execute("SELECT DISTINCT experiment FROM exposures").fetchall()]
