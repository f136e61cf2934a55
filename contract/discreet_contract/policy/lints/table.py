"""The table of rules, and how a rule gets into it: by its function's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import TYPE_CHECKING, TypeAlias

from discreet_contract.policy.shape import Path, ShapeProblem

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy

Finding: TypeAlias = tuple[Path, str]
Finder: TypeAlias = Callable[["Policy", date], Iterator[Finding]]
Rule: TypeAlias = Callable[["Policy", date], Iterator[ShapeProblem]]
RULES: dict[str, Rule] = {}


def rule(finder: Finder) -> Rule:
    """Enter a function that yields (path, message) into the table, under its own name in capitals."""
    name = finder.__name__.upper()

    def judge(policy: Policy, today: date) -> Iterator[ShapeProblem]:
        for path, message in finder(policy, today):
            yield ShapeProblem(path, name, message)

    judge.__doc__ = finder.__doc__
    RULES[name] = judge
    return judge
