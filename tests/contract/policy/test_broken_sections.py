"""Every way the other sections of a policy can be wrong, held against media.yaml: place, rule and reason."""

import pytest

from discreet_contract.errors import ExitCode, PolicyError
from discreet_contract.policy.compile import build_policy
from policies import FILE, MEDIA, parsed

# name: (edits to media.yaml, [(place and rule, part of the message)])
BROKEN = {
    "feature of an unknown signal": (
        [("minutes_7d: {from: playback.stopped", "minutes_7d: {from: playback.stoped")],
        [("56:22: UNKNOWN_SIGNAL", "did you mean 'playback.stopped'?")],
    ),
    "feature of an unknown field": (
        [("value: seconds, aggregate", "value: second, aggregate")],
        [("56:47: UNKNOWN_FIELD", "did you mean 'seconds'?")],
    ),
    "sum of a category": (
        [("value: seconds, aggregate: sum", "value: genre, aggregate: sum")],
        [("56:47: FEATURE", "'sum' reads a number, 'genre' is a category")],
    ),
    "sum of nothing": (
        [("value: seconds, aggregate: sum", "aggregate: sum")],
        [("56:15: FEATURE", "'sum' needs `value`: the field it reads")],
    ),
    "count of a field": (
        [("value: seconds, aggregate: sum", "value: seconds, aggregate: count")],
        [("56:47: FEATURE", "'count' reads no field")],
    ),
    "unknown aggregate": (
        [("aggregate: sum", "aggregate: total")],
        [("56:67: VALUE", "'time_since', 'active_days', 'streak', 'session'")],
    ),
    "top without by": (
        [("by: genre, aggregate: decayed_count", "aggregate: decayed_count")],
        [("57:96: FEATURE", "`top` wants `by`: the category it ranks")],
    ),
    "by an unknown field": ([("by: genre", "by: genres")], [("57:44: UNKNOWN_FIELD", "did you mean 'genre'?")]),
    "by a number": (
        [("by: genre", "by: seconds")],
        [("57:44: FEATURE", "is no category, so nothing can be grouped by it")],
    ),
    "decayed without a half-life": (
        [("half_life: 7d, ", "")],
        [("57:15: FEATURE", "'decayed_count' needs `half_life`")],
    ),
    "a half-life that is not taken": (
        [("aggregate: sum, ", "aggregate: sum, half_life: 7d, ")],
        [("56:83: FEATURE", "'sum' takes no `half_life`")],
    ),
    "quantile without which": (
        [("aggregate: sum", "aggregate: quantile")],
        [("56:15: FEATURE", "'quantile' needs `quantile`")],
    ),
    "feature without a window": (
        [("aggregate: sum, window: 7d", "aggregate: sum")],
        [("56:15: FEATURE", "'sum' needs `window`")],
    ),
    "feature over two years": (
        [("aggregate: sum, window: 7d", "aggregate: sum, window: 730d")],
        [("56:80: WINDOW", "a feature's window is one minute to 366 days")],
    ),
    "feature that lives for no time": ([("ttl: 14d", "ttl: 0s")], [("56:89: WINDOW", "`ttl` is longer than nothing")]),
    "fallback without its default": (
        [("fallback: default, default: 0", "fallback: default")],
        [("56:15: FEATURE", "`default` and `fallback: default` go together")],
    ),
    "condition of a feature": (
        [('where: {"==": [{var: evening}, true]}, window', 'where: {"==": [{var: evenings}, true]}, window')],
        [("58:69: CONDITION", "the signal has no field 'evenings'")],
    ),
    "score of an unknown feature": (
        [("weights: {minutes_7d:", "weights: {minuts_7d:")],
        [("60:49: UNKNOWN_FEATURE", "did you mean 'minutes_7d'?")],
    ),
    "fallback for what is not weighed": (
        [("fallbacks: {evenings: 0}", "fallbacks: {top_genres: 0}")],
        [("60:98: UNKNOWN_FEATURE", "no feature 'top_genres'")],
    ),
    "score named like a feature": (
        [("  binge: {kind", "  evenings: {kind")],
        [("60:3: DUPLICATE", "'evenings' is a feature already")],
    ),
    "weight that is text": ([("evenings: 0.2", "evenings: much")], [("60:80: VALUE", "Expected `float`, got `str`")]),
    "segment of an unknown variable": (
        [('when: {">": [{var: minutes_7d}', 'when: {">": [{var: minutes_8d}')],
        [("62:17: UNKNOWN_VARIABLE", "did you mean 'minutes_7d'?")],
    ),
    "segment with an unknown operator": (
        [('when: {">":', 'when: {"=>":')],
        [("62:17: CONDITION", "unknown operator '=>'")],
    ),
    "segment that takes in what is not there": (
        [('when: {">": [{var: minutes_7d}, 36000]}', "when: {$ref: adults}")],
        [("62:17: UNKNOWN_EVALUATOR", "no evaluator 'adults'")],
    ),
    "rule of more parts than devices take": (
        [("{in: [binge, {var: segments}]}", "{or: [" + ", ".join(["true"] * 5000) + "]}")],
        [("73:16: CONDITION", "at most 5000 parts")],
    ),
    "default that is no variant": (
        [('defaultVariant: "off"', 'defaultVariant: "of"')],
        [("67:21: UNKNOWN_VARIANT", "did you mean 'off'?")],
    ),
    "targeting of an unknown segment": (
        [("{in: [binge, {var: segments}]}", "{var: segments.bing}")],
        [("73:16: UNKNOWN_SEGMENT", "did you mean 'binge'?")],
    ),
    "targeting that gives no variant": (
        [("segments}]}, personal, editorial]", "segments}]}, personnel, editorial]")],
        [("73:16: UNKNOWN_VARIANT", "did you mean 'personal'?")],
    ),
    "variants of two types": (
        [('"off": false}', '"off": 0}')],
        [("66:15: FLAG", "one type: true or false, text, number or mapping")],
    ),
    "flag state nobody knows": (
        [("state: ENABLED", "state: ON")],
        [("65:12: VALUE", "'ON' is not one of 'ENABLED', 'DISABLED'")],
    ),
    "shared condition that is not there": (
        [('{var: experiments.autoplay-2027}, "off"]', '{$ref: heavy}, "off"]')],
        [("68:16: UNKNOWN_EVALUATOR", "no evaluator 'heavy'")],
    ),
    "shared condition in a circle": (
        [("layers:\n", "evaluators: {a: {$ref: b}, b: {$ref: a}}\nlayers:\n")],
        [("74:17: LOOP", "this condition takes in itself"), ("74:31: LOOP", "this condition takes in itself")],
    ),
    "cohort of everybody": (
        [("{installed_from: 2027-01-01, installed_until: 2028-01-01, why", "{why")],
        [("77:3: COHORT", "names installation dates, platforms or releases")],
    ),
    "cohort backwards": (
        [("installed_until: 2028-01-01", "installed_until: 2026-01-01")],
        [("77:65: DATES", "`installed_from` is before `installed_until`")],
    ),
    "arms that do not add up": (
        [('"on": 50}', '"on": 40}')],
        [("84:11: ARMS", "the arms' shares add up to 90, not to 100")],
    ),
    "arm that is no variant": (
        [('arms: {"off": 50, "on": 50}', 'arms: {"off": 50, "onn": 50}')],
        [("84:23: UNKNOWN_VARIANT", "did you mean 'on'?")],
    ),
    "single arm": (
        [('arms: {"off": 50, "on": 50}', 'arms: {"off": 100}')],
        [("84:11: VALUE", "Expected `object` of length >= 2")],
    ),
    "traffic as a number": ([("traffic: 20%", "traffic: 0.2")], [("85:14: VALUE", "Expected `str`, got `float`")]),
    "traffic of nobody": ([("traffic: 20%", "traffic: 0%")], [("85:14: TRAFFIC", "an experiment without traffic")]),
    "layer that is too full": (
        [("holdout: 5%", "holdout: 81%")],
        [("85:14: LAYER_FULL", "r 'playback' is asked for 1.01 times its devices")],
    ),
    "unknown layer": (
        [("    layer: playback", "    layer: playbacks")],
        [("81:12: UNKNOWN_LAYER", "did you mean 'playback'?")],
    ),
    "flag that is not there": (
        [("    flag: autoplay", "    flag: autplay")],
        [("86:11: UNKNOWN_FLAG", "did you mean 'autoplay'?")],
    ),
    "experiment that ends first": (
        [("end: 2027-12-16", "end: 2027-07-29")],
        [("88:10: DATES", "`start` is before `end`")],
    ),
    "experiment on no day": (
        [("start: 2027-07-29", "start: 2027-02-30")],
        [("87:12: DATES", "not a day of the calendar")],
    ),
    "no salt": ([("salt: autoplay-2027-r7qk", 'salt: ""')], [("83:11: VALUE", "Expected `str` of length >= 1")]),
    "unknown primary metric": (
        [("primary: minutes", "primary: minute")],
        [("89:14: UNKNOWN_METRIC", "did you mean 'minutes'?")],
    ),
    "unknown guardrail": (
        [("guardrails: [crashed]", "guardrails: [crashes]")],
        [("90:18: UNKNOWN_METRIC", "did you mean 'crashed'?")],
    ),
    "primary that does not carry the arm": (
        [("unit: min}\n    by: [experiments]\n", "unit: min}\n")],
        [("89:14: ARM_NOT_CARRIED", "metric 'minutes' does not carry the arm")],
    ),
    "primary that is a guardrail": (
        [("guardrails: [crashed]", "guardrails: [crashed, minutes]")],
        [("90:17: DUPLICATE", "the primary metric is no guardrail")],
    ),
    "enrolment by a feature": (
        [('enrol: {"!=": [{var: platform}, kiosk]}', 'enrol: {">": [{var: minutes_7d}, 60]}')],
        [("92:12: PRIVATE_ENROLMENT", "enrolment depends on 'minutes_7d'")],
    ),
    "enrolment by a segment": (
        [('enrol: {"!=": [{var: platform}, kiosk]}', "enrol: {in: [binge, {var: segments}]}")],
        [("92:12: PRIVATE_ENROLMENT", "enrolment depends on 'segments'")],
    ),
    "enrolment by an unknown fact": (
        [("{var: platform}", "{var: platfrom}")],
        [("92:12: UNKNOWN_VARIABLE", "did you mean 'platform'?")],
    ),
    "enrolment by a name that is made up later": (
        [("{var: platform}", "{var: {cat: [minutes, _7d]}}")],
        [
            ("92:12: CONDITION", "unknown operator 'cat'"),
            ("92:12: PRIVATE_ENROLMENT", "variable in plain text, so that it can be judged"),
        ],
    ),
    "enrolment by everything": (
        [("{var: platform}", '{var: ""}')],
        [("92:12: PRIVATE_ENROLMENT", "variable in plain text, so that it can be judged")],
    ),
    "enrolment by a shared condition": (
        [('enrol: {"!=": [{var: platform}, kiosk]}', "enrol: {$ref: heavy}")],
        [("92:12: CONDITION", "unknown operator '$ref'")],
    ),
    "enrolment of nobody in particular": (
        [('enrol: {"!=": [{var: platform}, kiosk]}', "enrol: {}")],
        [("92:12: CONDITION", 'tor and its arguments, like {">": [{var: x}, 1]}')],
    ),
    "eligible by a segment that is not there": (
        [("    effect: 30\n", "    effect: 30\n    eligible: {var: segments.bing}\n")],
        [("92:15: UNKNOWN_VARIABLE", "did you mean 'segments.binge'?")],
    ),
    "segment on no condition": (
        [('when: {">": [{var: minutes_7d}, 36000]}', "when: {}")],
        [("62:17: CONDITION", 'tor and its arguments, like {">": [{var: x}, 1]}')],
    ),
    "segment with two operators": (
        [
            (
                'when: {">": [{var: minutes_7d}, 36000]}',
                'when: {">": [{var: minutes_7d}, 1], "<": [{var: minutes_7d}, 2]}',
            )
        ],
        [("62:17: CONDITION", 'tor and its arguments, like {">": [{var: x}, 1]}')],
    ),
    "variants of nothing": (
        [('"on": true, "off": false', '"on": null, "off": null')],
        [("66:15: FLAG", "one type: true or false, text, number or mapping")],
    ),
    "arm that depends on a feature": (
        [('arms: {"off": 50, "on": 50}', 'arms: {"off": 50, "on": {var: minutes_7d}}')],
        [("84:29: VALUE", "Expected `int`, got `object`")],
    ),
    "window that depends on a feature": (
        [("start: 2027-07-29", "start: {var: minutes_7d}")],
        [("87:12: VALUE", "Expected `str`, got `object`")],
    ),
    "guard of an unknown flag": (
        [("flags: [autoplay, rows]", "flags: [autoplay, row]")],
        [("95:50: UNKNOWN_FLAG", "did you mean 'rows'?")],
    ),
    "guard on an unknown signal": (
        [("crashes: {from: app.crashed", "crashes: {from: app.crash")],
        [("95:19: UNKNOWN_SIGNAL", "did you mean 'app.crashed'?")],
    ),
    "sender of an unknown signal": (
        [("lateness: 2h\n", "lateness: 2h\nsenders: {app: {uid: 1000, signals: [app.crash]}}\n")],
        [("19:38: UNKNOWN_SIGNAL", "did you mean 'app.crashed'?")],
    ),
    "kill switch of nothing": (
        [("lateness: 2h\n", "lateness: 2h\nkill: {experiments: [autoplay]}\n")],
        [("19:22: UNKNOWN_EXPERIMENT", "did you mean 'autoplay-2027'?")],
    ),
    "contract of an unknown signal": (
        [("lateness: 2h\n", "lateness: 2h\ncontracts: {app.crash: {latency: 1h}}\n")],
        [("19:13: UNKNOWN_SIGNAL", "did you mean 'app.crashed'?")],
    ),
    "kept for longer than the layer": (
        [
            ("lateness: 2h\n", "lateness: 2h\nretention: {raw: 7d}\n"),
            ("retention: 14d", "retention: 7d"),
            ("retention: 14d", "retention: 7d"),
        ],
        [("55:16: RETENTION", ", longer than the 7d that `retention.raw` allows")],
    ),
    "turns with nobody": (
        [("rotate: taste", "rotate: tast")],
        [
            ("15:17: BUDGET", "y window is first refused by this cap on day 336"),
            ("126:13: ROTATE", "did you mean 'taste'?"),
            ("137:13: ROTATE", "did you mean 'tast'?"),
        ],
    ),
    "dimension that is private": (
        [("by: [experiments]", "by: [genre]")],
        [("105:10: VALUE", "not one of 'experiments', 'platform', 'release'")],
    ),
    "default outside of the list": (
        [("other]}", "other], default: musik}")],
        [("34:84: DEFAULT", "did you mean 'music'?")],
    ),
    "default outside of the bounds": (
        [("grid: 60}", "grid: 60, default: -1}")],
        [("35:79: DEFAULT", "e default lies outside of the field's own bounds")],
    ),
    "default of another type": ([("default: false}", "default: 0}")], [("36:58: VALUE", "Expected `bool`, got `int`")]),
    "budget that runs out": (
        [("per_365_days: 24.0", "per_365_days: 20.0")],
        [("15:17: BUDGET", "y window is first refused by this cap on day 308")],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_section_names_place_rule_and_reason(name):
    """All problems are reported, in the order they stand in the file, as file:line:column: RULE message."""
    edits, expected = BROKEN[name]
    text = MEDIA.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text, f"media.yaml no longer holds {old!r}"
        text = text.replace(old, new, 1)

    with pytest.raises(PolicyError) as caught:
        build_policy(parsed(text))

    lines = str(caught.value).splitlines()
    assert len(lines) == len(expected), lines
    for line, (place, part) in zip(lines, expected, strict=True):
        assert line.startswith(f"{FILE}:{place} "), line
        assert part in line
    assert caught.value.exit_code == ExitCode.POLICY
