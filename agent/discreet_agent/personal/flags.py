"""Flags as flagd evaluates them: compiled once for a policy, then answered from a context.

In: the policy's flags and shared conditions. Out: a `Resolution` or a `Failure`, never an
exception, whatever the context holds. Values, variants and metadata are the policy's own
objects: whoever takes them does not change them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.personal.coerce import LogicError, text
from discreet_agent.personal.frame import Frame
from discreet_agent.personal.logic import compile_rule
from discreet_agent.personal.reads import readings
from discreet_agent.personal.values import Failure, FlagError, Reason, Resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from discreet_agent.personal.frame import Step
    from discreet_agent.personal.values import Answer
    from discreet_contract.clock import Clock
    from discreet_contract.policy.personalization import Flag

_NO_VARIANT = "its rule names a variant that the flag does not have"


class FlagSet:
    """The flags of one policy. `killed` ones give their default variant, whatever their targeting says."""

    def __init__(
        self,
        flags: Mapping[str, Flag],
        evaluators: Mapping[str, Any],
        *,
        clock: Clock,
        killed: frozenset[str] = frozenset(),
    ) -> None:
        self.keys = tuple(sorted(flags))
        self._reads = {key: readings(flag.targeting, evaluators) for key, flag in flags.items()}
        self._static: dict[str, Answer] = {}  # one object for each answer that no context changes
        self._targeted: dict[str, _Targeted] = {}
        for key, declared in flags.items():
            flag = _with_numbers_alike(declared)
            if flag.state == "DISABLED" or key in killed or not flag.targeting:
                self._static[key] = _fixed(key, flag, is_killed=key in killed)
            else:
                self._compile(key, flag, evaluators, clock)

    def evaluate(self, key: str, context: Mapping[str, Any]) -> Answer:
        """One flag under a context, which holds the app's own names and what the agent adds."""
        answer = self._static.get(key)
        if answer is not None:
            return answer
        flag = self._targeted.get(key)
        if flag is None:
            return Failure(key, FlagError.FLAG_NOT_FOUND, "no such flag")
        return flag.evaluate(context)

    def reads(self, key: str) -> frozenset[str]:
        """What a flag's targeting can look up: `features.minutes`, or `features` where it may be any of them."""
        return self._reads.get(key, frozenset())

    def _compile(self, key: str, flag: Flag, evaluators: Mapping[str, Any], clock: Clock) -> None:
        try:
            rule = compile_rule(flag.targeting, evaluators)
        except LogicError as error:
            self._static[key] = Failure(key, FlagError.PARSE_ERROR, str(error))
        else:
            self._targeted[key] = _Targeted(key, flag, rule, clock.now_ms)


class _Targeted:
    """One flag with a rule; every answer that it can give is made beforehand."""

    __slots__ = ("by_variant", "default", "key", "now_ms", "rule")

    def __init__(self, key: str, flag: Flag, rule: Step, now_ms: Callable[[], int]) -> None:
        self.key = key
        self.rule = rule
        self.now_ms = now_ms
        self.default = _default(key, flag, Reason.DEFAULT)
        self.by_variant: dict[str, Answer] = {
            variant: Resolution(key, value, variant, Reason.TARGETING_MATCH, flag.metadata)
            for variant, value in flag.variants.items()
            if value is not None
        }

    def evaluate(self, context: Mapping[str, Any]) -> Answer:
        try:
            result = self.rule(context, Frame(context, self.key, self.now_ms))
            if result is None:
                return self.default
        except LogicError as error:
            return Failure(self.key, FlagError.PARSE_ERROR, str(error))
        if not isinstance(result, str):
            # true, false and numbers name variants; a list that reads like one does not
            result = text(result) if isinstance(result, int | float) else ""
        return self.by_variant.get(result) or Failure(self.key, FlagError.GENERAL, _NO_VARIANT)


def _with_numbers_alike(flag: Flag) -> Flag:
    """Where one of a flag's numbers has a fraction, all are floats.

    Canonical JSON writes 10.0 as 10, and OpenFeature's clients take that for another type.
    """
    if not any(type(value) is float and not value.is_integer() for value in flag.variants.values()):
        return flag
    alike = {variant: float(value) if type(value) is int else value for variant, value in flag.variants.items()}
    return msgspec.structs.replace(flag, variants=alike)


def _fixed(key: str, flag: Flag, *, is_killed: bool) -> Answer:
    """The answer of a flag without a rule, or with one that is not asked."""
    if flag.state == "DISABLED":
        return Resolution(key, None, None, Reason.DISABLED, flag.metadata)
    return _default(key, flag, Reason.DEFAULT if is_killed else Reason.STATIC)


def _default(key: str, flag: Flag, reason: Reason) -> Answer:
    """The default variant; without one the app takes its own default, which is never static to flagd."""
    variant = flag.default_variant
    if not variant:
        return Resolution(key, None, None, Reason.DEFAULT, flag.metadata)
    if variant not in flag.variants:
        return Failure(key, FlagError.GENERAL, "its default variant is none of its variants")
    return Resolution(key, flag.variants[variant], variant, reason, flag.metadata)
