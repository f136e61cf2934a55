"""JSONLogic with flagd's operators, compiled once: a rule becomes closures, an evaluation calls them.

In: a rule as the policy holds it. Out: a `Step` from (context, frame) to a value. It raises
LogicError alone, where flagd reports a parse error. Work is bounded: rules in size and depth
here, texts and lists where they are made, loops by `Frame.spend`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from discreet_agent.personal import loops, variables
from discreet_agent.personal.coerce import LogicError, is_true
from discreet_agent.personal.fractional import buckets, choose, hashing
from discreet_agent.personal.operations import LENGTHY, OPERATIONS, ORDERS
from discreet_contract.policy.logic import DEEPEST, MOST_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from discreet_agent.personal.fractional import Buckets
    from discreet_agent.personal.frame import Frame, Step

_LOOPS = {
    "map": loops.mapped,
    "filter": loops.filtered,
    "all": loops.every,
    "some": loops.some,
    "none": loops.none,
}


def compile_rule(rule: Any, evaluators: Mapping[str, Any] | None = None) -> Step:
    """A rule as a function. Raises LogicError for one too large or too deep, or that takes in itself."""
    return _Compiler(evaluators or {}).compile(rule)


class _Compiler:
    """Where the compiler stands: how deep, in whose scope, within which shared rules."""

    def __init__(self, evaluators: Mapping[str, Any]) -> None:
        self.evaluators = evaluators
        self.parts = 0
        self.depth = 0
        self.is_root = True
        self.within: list[str] = []
        self.special: dict[str, Callable[[list[Any]], Step]] = {
            "if": self._if,
            "?:": self._if,
            "and": self._and,
            "or": self._or,
            "var": self._var,
            "missing": lambda given: variables.missing(self._all(given), at_root=self.is_root),
            "missing_some": lambda given: variables.missing_some(self._all(given), at_root=self.is_root),
            "reduce": self._reduce,
            "fractional": self._fractional,
            "$ref": self._ref,
        }

    def compile(self, rule: Any) -> Step:
        self.parts += 1
        if self.parts > MOST_PARTS or self.depth > DEEPEST:
            raise LogicError(f"a rule has at most {MOST_PARTS} parts, {DEEPEST} deep")
        self.depth += 1
        try:
            return self._part(rule)
        finally:
            self.depth -= 1

    def _part(self, rule: Any) -> Step:
        if isinstance(rule, list):
            steps = self._all(rule)
            return lambda data, frame: [step(data, frame) for step in steps]
        if not isinstance(rule, dict) or len(rule) != 1:
            return lambda _data, _frame: rule
        [(operation, given)] = rule.items()
        arguments = given if isinstance(given, list) else [given]
        if operation in self.special:
            return self.special[operation](arguments)
        if operation in _LOOPS:
            return self._loop(operation, arguments)
        if operation in OPERATIONS:
            return self._operation(operation, arguments)
        # Only where it is reached, as in flagd: a branch that is never taken does not break a flag.
        return _broken(f"unknown operator {operation!r}" if isinstance(operation, str) else "unknown operator")

    def _all(self, rules: list[Any]) -> list[Step]:
        return [self.compile(rule) for rule in rules]

    def _scoped(self, rule: Any) -> tuple[Step, int]:
        """A rule for items, and what one run of it costs."""
        before, self.is_root, was_root = self.parts, False, self.is_root
        step = self.compile(rule)
        self.is_root = was_root
        return step, self.parts - before

    def _operation(self, operation: str, arguments: list[Any]) -> Step:
        steps = self._all(arguments)
        if len(arguments) == 2 and operation in {"==", "==="} and isinstance(arguments[1], str):
            return _equals_text(OPERATIONS[operation], steps[0], arguments[1])
        if len(arguments) == 2 and operation in ORDERS:
            return _applied(ORDERS[operation], steps)
        if operation in LENGTHY:
            return _lengthy(OPERATIONS[operation], steps)
        return _applied(OPERATIONS[operation], steps)

    def _if(self, arguments: list[Any]) -> Step:
        steps = self._all(arguments)
        last = steps[-1] if len(steps) % 2 else None
        branches = tuple(zip(steps[0 : len(steps) - 1 : 2], steps[1::2], strict=True))

        def step(data: Any, frame: Frame) -> Any:
            for condition, result in branches:
                if is_true(condition(data, frame)):
                    return result(data, frame)
            return None if last is None else last(data, frame)

        return step

    def _and(self, arguments: list[Any]) -> Step:
        steps = self._all(arguments)

        def step(data: Any, frame: Frame) -> Any:
            value = None
            for part in steps:
                value = part(data, frame)
                if not is_true(value):
                    return value
            return value

        return step

    def _or(self, arguments: list[Any]) -> Step:
        steps = self._all(arguments)

        def step(data: Any, frame: Frame) -> Any:
            value = None
            for part in steps:
                value = part(data, frame)
                if is_true(value):
                    return value
            return value

        return step

    def _var(self, arguments: list[Any]) -> Step:
        name = arguments[0] if arguments else ""
        default = self.compile(arguments[1]) if len(arguments) > 1 and arguments[1] is not None else None
        if name is None or isinstance(name, str):
            return variables.named(name or "", default, at_root=self.is_root)
        return variables.computed(self.compile(name), default, at_root=self.is_root)

    def _loop(self, operation: str, arguments: list[Any]) -> Step:
        source, rule = [*arguments, None, None][:2]
        items = self.compile(source)
        return _LOOPS[operation](items, *self._scoped(rule))

    def _reduce(self, arguments: list[Any]) -> Step:
        source, rule, first = [*arguments, None, None, None][:3]
        items, start = self.compile(source), self.compile(first)
        step, cost = self._scoped(rule)
        return loops.reduced(items, step, start, cost)

    def _fractional(self, arguments: list[Any]) -> Step:
        steps, digest = self._all(arguments), hashing()
        if arguments and isinstance(arguments[0], list) and _is_fixed(arguments):
            those = buckets(arguments)
            return lambda _data, frame: _chosen(_bucketed_by(frame), those, digest)
        fixed = buckets(arguments[1:]) if _is_fixed(arguments[1:]) else None

        def step(data: Any, frame: Frame) -> Any:
            key = steps[0](data, frame) if steps else None
            if fixed is not None and not isinstance(key, list):
                return _chosen(key, fixed, digest)
            weights = [part(data, frame) for part in steps[1:]]
            if isinstance(key, list):
                return _chosen(_bucketed_by(frame), buckets([key, *weights]), digest)
            return _chosen(key, buckets(weights), digest)

        return step

    def _ref(self, arguments: list[Any]) -> Step:
        name = arguments[0] if arguments else None
        if not isinstance(name, str) or name not in self.evaluators:
            return _broken("a shared condition that is not there")
        if name in self.within:
            raise LogicError("a shared condition takes in itself")
        self.within.append(name)
        step = self.compile(self.evaluators[name])
        self.within.pop()
        return step


def _is_fixed(weights: list[Any]) -> bool:
    return all(isinstance(pair, list) and not any(isinstance(part, list | dict) for part in pair) for pair in weights)


def _chosen(key: Any, those: Buckets | None, digest: Callable[[bytes], int]) -> Any:
    return None if key is None or those is None else choose(key, those, digest)


def _bucketed_by(frame: Frame) -> list[str] | None:
    """The flag's name and the device's or user's own key; flagd takes texts only."""
    key = variables.walk(frame.root, ("targetingKey",))
    return [frame.flag, key] if isinstance(key, str) and key else None


def _broken(why: str) -> Step:
    def step(_data: Any, _frame: Frame) -> NoReturn:
        raise LogicError(why)

    return step


def _equals_text(operation: Callable[..., bool], left: Step, wanted: str) -> Step:
    def step(data: Any, frame: Frame) -> bool:
        value = left(data, frame)
        return value == wanted if type(value) is str else operation(value, wanted)

    return step


def _lengthy(operation: Callable[..., Any], steps: list[Step]) -> Step:
    def step(data: Any, frame: Frame) -> Any:
        given = [part(data, frame) for part in steps]
        for part in given:
            if isinstance(part, list):
                frame.spend(len(part))
            elif isinstance(part, str):
                frame.spend(len(part) >> 6)
        return operation(*given)

    return step


def _applied(operation: Callable[..., Any], steps: list[Step]) -> Step:
    if len(steps) == 1:
        [one] = steps
        return lambda data, frame: operation(one(data, frame))
    if len(steps) == 2:
        one, other = steps
        return lambda data, frame: operation(one(data, frame), other(data, frame))
    return lambda data, frame: operation(*[part(data, frame) for part in steps])
