"""Every way a policy file can be wrong is reported where it stands, under its rule, with what to do."""

import pytest

from discreet_contract.errors import ExitCode, PolicyError
from discreet_contract.policy.compile import build_policy
from policies import FILE, edited, parsed

WHERE = '{">=": [{var: delay}, 60]}'
COUNT = "per_device: count\n    type: count\n    bounds: [0, 40]"
TOP_KEYS = "aggregator, budget, cohorts, collector, consent, contracts, discreet"

# name: (edits to flights.yaml, [(place and rule, part of the message)])
BROKEN = {
    # shape
    "misspelt key": (
        [("lateness: 2h", "latenes: 2h")],
        [("17:1: UNKNOWN_KEY", "did you mean 'lateness'?")],
    ),
    "unknown key that resembles nothing": (
        [("lateness: 2h", "zzz: 2h")],
        [("17:1: UNKNOWN_KEY", f"unknown key 'zzz'; known: {TOP_KEYS}")],
    ),
    "misspelt key deep down": (
        [("    epsilon: 1.0", "    epsilom: 1.0")],
        [("42:3: MISSING_KEY", "key 'epsilon' is missing"), ("48:5: UNKNOWN_KEY", "did you mean 'epsilon'?")],
    ),
    "misspelt key inside a field": (
        [("unit: min}", "units: min}")],
        [("36:51: UNKNOWN_KEY", "did you mean 'unit'?")],
    ),
    "missing key": ([("fleet: flights\n", "")], [("2:1: MISSING_KEY", "key 'fleet' is missing")]),
    "missing key of a signal": ([("    kind: outcome\n", "")], [("25:3: MISSING_KEY", "key 'kind' is missing")]),
    "text for a number": ([("epsilon: 1.0", "epsilon: lots")], [("48:14: VALUE", "Expected `float`, got `str`")]),
    "number for text": ([("author: ops@flights.example", "author: 7")], [("6:11: VALUE", "Expected `str`, got `int`")]),
    "true for a number": ([("version: 1\n", "version: true\n")], [("4:10: VALUE", "Expected `int`, got `bool`")]),
    "mapping for text": ([("consent: managed", "consent: {a: b}")], [("8:10: VALUE", "is not one of 'opt-in'")]),
    "text for a mapping": ([("display: {unit: share of aircraft}", "display: share")], [("49:14: TYPE", "a mapping")]),
    "nothing for a mapping": ([("display: {unit: share of aircraft}", "display:")], [("49:13: TYPE", "nothing")]),
    "list for a mapping": ([("display: {unit: share of aircraft}", "display: [1]")], [("49:14: TYPE", "a list")]),
    "choice outside its list": ([("consent: managed", "consent: sure")], [("8:10: VALUE", "'sure' is not one of")]),
    "ε of zero": ([("epsilon: 1.0", "epsilon: 0.0")], [("48:14: VALUE", "Expected `float` >= 1e-06")]),
    "ε beyond the language": ([("epsilon: 1.0", "epsilon: 17")], [("48:14: VALUE", "Expected `float` <= 16")]),
    "version zero": ([("version: 1\n", "version: 0\n")], [("4:10: VALUE", "Expected `int` >= 1")]),
    "language of the future": ([("discreet: 1", "discreet: 2")], [("2:11: VALUE", "2 is not one of 1")]),
    "duration without a unit": ([("window: 28d", "window: 28")], [("47:13: VALUE", "Expected `str`, got `int`")]),
    "duration in weeks": (
        [("window: 28d", "window: 4w")],
        [("47:13: VALUE", "'4w' does not have the form wanted here")],
    ),
    "duration with a line break": ([("window: 28d", 'window: "28d\\n"')], [("47:13: VALUE", "does not have the form")]),
    "fleet name with a line break": ([("fleet: flights", 'fleet: "flights\\n"')], [("3:8: VALUE", "lower case")]),
    "fleet name in capitals": ([("fleet: flights", "fleet: Flights")], [("3:8: VALUE", "lower case, digits, -")]),
    "metric name in capitals": ([("  main_origin:", "  Main_Origin:")], [("53:3: KEY", "lower case, digits, _")]),
    "metric name with a line break": ([("  main_origin:", '  "main_origin\\n":')], [("53:3: KEY", "digits, _")]),
    "schema version that is none": ([("version: 1-0-0", "version: 1.0.0")], [("26:14: VALUE", "SchemaVer")]),
    "short public key": (
        [("0000000000000000000000000000000000000000000000000000000000000009", "09")],
        [("12:30: VALUE", "32 bytes in hex")],
    ),
    "long key id": ([("{id: demo", "{id: demonstration")], [("12:12: VALUE", "at most 8 of")]),
    "no keys at all": (
        [('- {id: demo, public_key: "' + "0" * 63 + '9", from: 2012-01-01, until: 2030-01-01}', "[]")],
        [("12:5: VALUE", "Expected `array` of length >= 1")],
    ),
    "unknown field type": ([("type: number", "type: numbr")], [("36:21: VALUE", "did you mean 'number'?")]),
    "field type that is a list": ([("type: number", "type: [number]")], [("36:21: VALUE", "'type' is ['number']")]),
    "field without a type": ([("{type: number, ", "{")], [("36:14: VALUE", "'type' is None")]),
    "single category": ([("[EWR, JFK, LGA]", "[EWR]")], [("40:40: VALUE", "Expected `array` of length >= 2")]),
    "category that YAML reads as a number": ([("[EWR,", "[7,")], [("40:41: VALUE", "Expected `str`, got `int`")]),
    "one bound": ([("bounds: [0, 40]", "bounds: [0]")], [("67:13: VALUE", "Expected `array` of length 2")]),
    "infinite bound": ([("bounds: [0, 40]", "bounds: [0, .inf]")], [("67:13: VALUE", "Expected `float`, got `str`")]),
    "number over every limit": ([("per_28_days: 4.0", "per_28_days: 1.0e+999")], [("14:16: NUMBER", "finite")]),
    "integer that JSON cannot carry": (
        [("min_devices: 200", "min_devices: 9007199254740993")],
        [("50:18: NUMBER", "2^53")],
    ),
    "sexagesimal number": ([("min_devices: 200", "min_devices: 3:20")], [("50:18: VALUE", "got `str`")]),
    "octal number": ([("min_devices: 200", "min_devices: 0200")], [("50:18: VALUE", "got `str`")]),
    # the YAML dialect
    "duplicate key": (
        [("lateness: 2h", "lateness: 2h\nlateness: 3h")],
        [("18:1: DUPLICATE_KEY", "'lateness' stands twice")],
    ),
    "duplicate metric": ([("  main_origin:", "  late_departure:")], [("53:3: DUPLICATE_KEY", "stands twice")]),
    "alias": (
        [("display: {unit: share of aircraft}", "display: &d {unit: share}"), ("{unit: share of aircraft}", "*d")],
        [("49:14: ALIAS", "write it out"), ("59:14: ALIAS", "write it out")],
    ),
    "anchor without an alias": ([("consent: managed", "consent: &c managed")], [("8:10: ALIAS", "write it out")]),
    "merge key": (
        [("display: {unit: share of aircraft}", "display: {<<: {unit: x}}")],
        [("49:15: UNKNOWN_KEY", "'<<'")],
    ),
    "tag": ([("consent: managed", "consent: !!str managed")], [("8:10: TAG", "tags are not part of")]),
    "tag that reads its text": ([("consent: managed", "consent: !!bool maybe")], [("8:10: TAG", "tags")]),
    "tag on a mapping": ([("display: {unit: share of aircraft}", "display: !!set {unit}")], [("49:14: TAG", "tags")]),
    "tag of a foreign object": (
        [("consent: managed", "consent: !!python/object/apply:os.getcwd []")],
        [("8:10: TAG", "tags are not part of")],
    ),
    "key that is a list": ([("lateness: 2h", "? [a]\n: 2h")], [("17:3: KEY", "a key is plain text")]),
    "tabs": ([("  author:", "\tauthor:")], [("6:1: YAML", "cannot start any token")]),
    "unclosed bracket": ([("[EWR, JFK, LGA]}", "[EWR, JFK, LGA")], [("41:8: YAML", "expected ',' or ']'")]),
    "impossible character": ([("consent: managed", r'consent: "\UFFFFFFFF"')], [("1:1: YAML", "not a YAML text")]),
    "half a character": ([("author: ops@flights.example", r'author: "\ud800"')], [("6:11: YAML", "not a text")]),
    # parts that do not fit one another
    "unknown signal": (
        [("from: flight.departed", "from: flight.arrived")],
        [("43:11: UNKNOWN_SIGNAL", "did you mean 'flight.departed'?")],
    ),
    "unknown field": (
        [("most_frequent: origin", "most_frequent: orign")],
        [("55:17: UNKNOWN_FIELD", "did you mean 'origin'?")],
    ),
    "collector of an unknown signal": (
        [("metrics:\n", "collector: {host: {signal: host.sampled, every: 5s}}\nmetrics:\n")],
        [("41:28: UNKNOWN_SIGNAL", "no signal 'host.sampled'")],
    ),
    "collector without a pause": (
        [("metrics:\n", "collector: {host: {signal: flight.departed, every: 0s}}\nmetrics:\n")],
        [("41:52: VALUE", "at most one sample a second")],
    ),
    "number without a range": ([("min: -120, max: 1440", "min: 5, max: 5")], [("36:14: BOUNDS", "min < max")]),
    "grid too fine": ([("unit: min}", "grid: 1.0e-310}")], [("36:14: BOUNDS", "more steps of the grid")]),
    "bounds the wrong way round": ([("bounds: [0, 40]", "bounds: [40, 0]")], [("67:13: BOUNDS", "low < high")]),
    "bounds off the grid": ([("bounds: [0, 40]", "bounds: [0, 40.5]")], [("67:13: BOUNDS", "on the grid of 1")]),
    "count below zero": ([("bounds: [0, 40]", "bounds: [-1, 40]")], [("67:13: BOUNDS", "never below 0")]),
    "bounds too wide for the payload": (
        [("bounds: [0, 40]", "bounds: [0, 90000000]")],
        [("67:13: BOUNDS", "coarser grid")],
    ),
    "bounds beside a grid too fine": (
        [("unit: min}", "grid: 1.0e-310}"), (COUNT, "per_device: {sum: delay}\n    type: mean\n    bounds: [0, 40]")],
        [("36:14: BOUNDS", "more steps"), ("67:13: BOUNDS", "range too wide")],
    ),
    "count without bounds": ([("    bounds: [0, 40]\n", "")], [("64:5: BOUNDS", "needs bounds: [low, high]")]),
    "yes-or-no with bounds": (
        [("type: binary", "type: binary\n    bounds: [0, 1]")],
        [("47:13: BOUNDS", "has no bounds")],
    ),
    "category that stands twice": ([("[EWR, JFK, LGA]", "[EWR, JFK, EWR]")], [("40:40: DUPLICATE", "stands twice")]),
    "reserved category": ([("[EWR, JFK, LGA]", "[EWR, none]")], [("40:40: RESERVED", "'none' is implicit")]),
    "window of seconds": ([("window: 28d", "window: 59s")], [("47:13: WINDOW", "at least one minute")]),
    "two reductions": (
        [("{most_frequent: origin}", "{most_frequent: origin, last: origin}")],
        [("55:17: REDUCTION", "exactly one")],
    ),
    "no reduction": ([("per_device: count", "per_device: {}")], [("65:17: REDUCTION", "exactly one reduction")]),
    "unknown reduction": (
        [("{most_frequent: origin}", "{median: origin}")],
        [("55:18: KEY", "'median' is not one of 'any'")],
    ),
    "reduction of the wrong type": (
        [("type: category\n    window", "type: mean\n    window")],
        [("54:5: BOUNDS", "needs bounds"), ("56:11: REDUCTION", "gives category or multi_select or open, not mean")],
    ),
    "edges on another type": (
        [("type: binary\n", "type: binary\n    edges: [1, 2]\n")],
        [("47:12: KEY_MISPLACED", "only a metric of type histogram has `edges`")],
    ),
    "histogram without edges": (
        [("type: count\n    bounds: [0, 40]\n", "type: histogram\n"), ("    mechanism: dlap-1", "    mechanism: auto")],
        [("64:5: KEY_MISSING", "needs `edges`")],
    ),
    "edges that fall": (
        [
            ("type: count\n    bounds: [0, 40]\n", "type: histogram\n    edges: [5, 1]\n"),
            ("mechanism: dlap-1", "mechanism: auto"),
        ],
        [("67:12: EDGES", "rise")],
    ),
    "more selected than there are": (
        [("type: category\n    window", "type: multi_select\n    at_most: 9\n    window")],
        [("57:14: VALUE", "'origin' has 3 values")],
    ),
    "memoised count": (
        [("type: count\n", "type: count\n    longitudinal: memoised\n")],
        [("67:19: MEMOISED", "only binary and category")],
    ),
    "draws without dates": (
        [("type: binary\n", "type: binary\n    longitudinal: memoised\n    draws: 2\n")],
        [("43:5: KEY_MISSING", "needs `redraw`")],
    ),
    "redraw that is not memoised": (
        [("type: binary\n", "type: binary\n    redraw: 364d\n")],
        [("47:13: KEY_MISPLACED", "only a memoised metric has `redraw`")],
    ),
    "mechanism for another size": (
        [("type: binary\n", "type: binary\n    mechanism: llh-1\n")],
        [("47:16: MECHANISM", "llh-1 cannot carry a binary metric; rr-1 can")],
    ),
    "reduction that wants no field": (
        [("per_device: any", "per_device: {any: delay}")],
        [("44:17: REDUCTION", "reads no field")],
    ),
    "reduction of the wrong field": (
        [("most_frequent: origin", "most_frequent: delay")],
        [("55:17: REDUCTION", "'delay' is a number")],
    ),
    "last of a number as a category": ([("most_frequent: origin", "last: delay")], [("55:17: REDUCTION", "'last'")]),
    "mechanism that cannot carry it": (
        [("type: binary", "type: binary\n    mechanism: dlap-1")],
        [("47:16: MECHANISM", "dlap-1 cannot carry a binary metric; rr-1 can")],
    ),
    "mechanism nobody knows": (
        [("type: binary", "type: binary\n    mechanism: rr-9")],
        [("47:16: VALUE", "'rr-9' is not one of 'auto'")],
    ),
    "key valid backwards": (
        [("until: 2030-01-01", "until: 2011-01-01")],
        [("12:123: DATES", "`from` is before its `until`")],
    ),
    "day that does not exist": (
        [("expires: 2028-01-01", "expires: 2027-02-30")],
        [("33:14: DATES", "2027-02-30 is not a day")],
    ),
    "date in another order": ([("expires: 2028-01-01", "expires: 01.01.2028")], [("33:14: VALUE", "YYYY-MM-DD")]),
    "cap below one window": (
        [("per_28_days: 4.0", "per_28_days: 2.5")],
        [("14:16: BUDGET", "costs ε = 3, over the cap of 2.5")],
    ),
    # conditions
    "condition on an unknown field": (
        [(WHERE, '{">=": [{var: delays}, 60]}')],
        [("45:12: CONDITION", "no field 'delays'; it has carrier")],
    ),
    "condition with an unknown operator": (
        [(WHERE, '{"=~": [{var: delay}, 60]}')],
        [("45:12: CONDITION", "unknown operator '=~'")],
    ),
    "condition that orders a category": (
        [(WHERE, '{">": [{var: origin}, JFK]}')],
        [("45:12: CONDITION", "'origin' is a category")],
    ),
    "condition against another type": (
        [(WHERE, '{"==": [{var: delay}, late]}')],
        [("45:12: CONDITION", "compared with something else")],
    ),
    "condition without arguments": ([(WHERE, '{"and": []}')], [("45:12: CONDITION", "at least one condition")]),
    "condition that is text": ([(WHERE, "delay > 60")], [("45:12: VALUE", "Expected `object`, got `str`")]),
    # more than one at once, in the file's order
    "two at once": (
        [("consent: managed", "consent: sure"), ("bounds: [0, 40]", "bounds: []"), ("lateness: 2h", "latenes: 2h")],
        [("8:10: VALUE", "'sure'"), ("17:1: UNKNOWN_KEY", "'lateness'"), ("67:13: VALUE", "length 2")],
    ),
    "reader and model at once": (
        [("lateness: 2h", "lateness: 2h\nlateness: 3h"), ("bounds: [0, 40]", "bounds: [40, 0]")],
        [("18:1: DUPLICATE_KEY", "'lateness'"), ("68:13: BOUNDS", "low < high")],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_policy_names_place_rule_and_reason(name):
    """All problems are reported, in the order they stand in the file, as file:line:column: RULE message."""
    edits, expected = BROKEN[name]

    with pytest.raises(PolicyError) as caught:
        build_policy(parsed(edited(*edits)))

    lines = str(caught.value).splitlines()
    assert len(lines) == len(expected), lines
    for line, (place, part) in zip(lines, expected, strict=True):
        assert line.startswith(f"{FILE}:{place} "), line
        assert part in line
    assert caught.value.exit_code == ExitCode.POLICY
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "\n# nothing\n", "just text", "- a\n- b\n", "a: b\n---\nc: d\n", "\x00", "a: [" * 2000]
)
def test_a_text_that_is_no_policy_is_refused(text):
    """Whatever stands in a file, the answer is a list of problems."""
    with pytest.raises(PolicyError) as caught:
        build_policy(parsed(text))

    assert caught.value.problems
    assert caught.value.hint


def test_bytes_that_are_no_text_are_refused():
    """UTF-16 and random bytes are not YAML in UTF-8."""
    from discreet_contract.policy.read import parse_policy_text

    with pytest.raises(PolicyError, match=r"p\.yaml:1:1: YAML not a YAML text in UTF-8") as caught:
        parse_policy_text("discreet: 1".encode("utf-16"), FILE)

    assert caught.value.hint
