"""One evaluator of flags, run by flags.py in its own Python; prints one JSON object: case → evaluations a CPU second.

python flags_contenders.py NAME SECONDS. Every contender gets the same flags in its own form and the same thousand
contexts, made beforehand, and must give the same answers: a share of them is printed too and compared by flags.py.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICES = 1000
SWITCH = {"on": True, "off": False}
RULE = {"if": [{"and": [{"var": "segments.binge"}, {">": [{"var": "features.minutes"}, 600]}]}, "on", "off"]}
SPLIT = {"fractional": [["on", 50], ["off", 50]]}
ARM = {"if": [{"==": [{"var": "experiments.autoplay"}, "treatment"]}, "on", "off"]}
TARGETING = {"static": {}, "targeting": RULE, "experiment": SPLIT}


def context(number: int) -> dict[str, Any]:
    """What flags are evaluated under: an app's own names and what the agent adds."""
    return {
        "targetingKey": f"device-{number}",
        "locale": "de-AT",
        "features": {"minutes": number * 7 % 1200, "days": number % 28},
        "segments": {"binge": number % 2 == 0},
        "experiments": {"autoplay": "treatment" if number % 2 else "control"},
    }


def discreet() -> dict[str, list[Callable[[], bool]]]:
    """This agent's own flags."""
    from discreet_agent.personal.flags import FlagSet
    from discreet_agent.personal.values import Resolution
    from discreet_contract.clock import SystemClock
    from discreet_contract.policy.personalization import Flag

    rules = TARGETING | {"experiment, arm given": ARM}
    flags = {
        case: Flag(state="ENABLED", variants=SWITCH, default_variant="off", targeting=rule)
        for case, rule in rules.items()
    }
    evaluate = FlagSet(flags, {}, clock=SystemClock()).evaluate

    def ask(case: str, given: dict[str, Any]) -> Callable[[], bool]:
        def once() -> bool:
            answer = evaluate(case, given)
            return isinstance(answer, Resolution) and answer.value is True

        return once

    return {case: [ask(case, context(number)) for number in range(DEVICES)] for case in rules}


def flagd() -> dict[str, list[Callable[[], bool]]]:
    """The evaluator of flagd for Python."""
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    core = FlagdCore()
    core.set_flags(
        {
            "flags": {
                case: {"state": "ENABLED", "variants": SWITCH, "defaultVariant": "off", "targeting": rule}
                for case, rule in TARGETING.items()
            }
        }
    )
    evaluate = core.resolve_boolean_value

    def ask(case: str, given: dict[str, Any]) -> Callable[[], bool]:
        named = dict(given)
        of_flagd = EvaluationContext(named.pop("targetingKey"), named)
        return lambda: evaluate(case, default_value=False, ctx=of_flagd).value

    return {case: [ask(case, context(number)) for number in range(DEVICES)] for case in TARGETING}


def growthbook() -> dict[str, list[Callable[[], bool]]]:
    """GrowthBook, with an instance for each device, as its documentation has it for servers."""
    from growthbook import GrowthBook

    experiment = {"key": "e", "variations": [True, False], "weights": [0.5, 0.5], "hashAttribute": "targetingKey"}
    rule = {"condition": {"segments.binge": True, "features.minutes": {"$gt": 600}}, "force": True}
    features = {
        "static": {"defaultValue": False},
        "targeting": {"defaultValue": False, "rules": [rule]},
        "experiment": {"defaultValue": False, "rules": [experiment | {"hashVersion": 2}]},
    }

    def ask(case: str, evaluator: Any) -> Callable[[], bool]:
        return lambda: bool(evaluator.eval_feature(case).value)

    those = [GrowthBook(attributes=context(number), features=features) for number in range(DEVICES)]
    return {case: [ask(case, one) for one in those] for case in features}


def main(name: str, seconds: float) -> None:
    """Each case for so long, after one round that warms up and counts the answers."""
    cases = {"discreet": discreet, "flagd": flagd, "growthbook": growthbook}[name]()
    said = {}
    for case, asks in cases.items():
        share = sum(ask() for ask in asks) / len(asks)
        gc.collect()
        gc.disable()
        rounds, began, spent = 0, time.process_time(), 0.0
        while spent < seconds:
            for ask in asks:
                ask()
            rounds += 1
            spent = time.process_time() - began
        gc.enable()
        said[case] = {"rate": rounds * len(asks) / spent, "share": share}
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
