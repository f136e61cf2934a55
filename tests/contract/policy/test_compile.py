"""Equal policies have equal bytes, and the bytes are the standard's."""

import json
import os
from pathlib import Path

import msgspec
import pytest
import yaml

from discreet_contract.errors import PermanentError
from discreet_contract.policy.compile import build_policy, canonical_json, canonicalize, load_policy, policy_hash
from discreet_contract.policy.model import Policy
from discreet_contract.policy.plan import plan_metrics
from policies import FLIGHTS, HOST, ROOT, built, parsed

CASES = Path(os.environ.get("DISCREET_CASES", ROOT.parent / "shared" / "cases")) / "jcs" / "testdata"


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_canonical_json_is_rfc_8785(name):
    """The authors' own test material."""
    if not CASES.is_dir():  # material of others, not a component: absent from CI machines, so never a failure
        pytest.skip(f"the RFC 8785 cases are not in {CASES}; set DISCREET_CASES")
    given = json.loads((CASES / "input" / f"{name}.json").read_text(encoding="utf-8"))
    expected = bytes.fromhex((CASES / "outhex" / f"{name}.txt").read_text(encoding="ascii"))

    assert canonicalize(given) == expected


@pytest.mark.parametrize("value", [2**53 + 1, float("inf"), float("nan"), "\ud800"])
def test_what_json_cannot_carry_is_refused(value):
    """No silent rounding of what is signed."""
    with pytest.raises(PermanentError, match="canonical JSON"):
        canonicalize({"value": value})


@pytest.mark.parametrize("example", [FLIGHTS, HOST], ids=lambda path: path.stem)
def test_the_order_of_keys_does_not_matter(example):
    """Two files that say the same have one hash."""

    def reversed_keys(value):
        if isinstance(value, dict):
            return {key: reversed_keys(value[key]) for key in reversed(value)}
        return [reversed_keys(item) for item in value] if isinstance(value, list) else value

    value = parsed(example.read_text(encoding="utf-8")).value
    turned = yaml.safe_dump(reversed_keys(value), sort_keys=False, allow_unicode=True)

    assert list(parsed(turned).value) == list(reversed(value))
    assert canonical_json(build_policy(parsed(turned))) == canonical_json(load_policy(example))


def test_written_defaults_and_absent_ones_are_the_same_policy():
    """Compiling fills in what the language says."""
    assert canonical_json(
        built(("    type: binary\n", "    type: binary\n    longitudinal: fresh\n"))
    ) == canonical_json(built())


def test_a_changed_value_changes_the_hash():
    """Down to one digit."""
    assert policy_hash(canonical_json(built(("min_devices: 200", "min_devices: 201")))) != policy_hash(
        canonical_json(built())
    )


def test_the_compiled_form_reads_back_as_the_same_policy():
    """Compiling does not change the language: what a device reads is what was checked."""
    policy = load_policy(FLIGHTS)
    again = msgspec.convert(json.loads(canonical_json(policy)), Policy)

    assert again == policy
    assert canonical_json(again) == canonical_json(policy)


def test_compiling_fixes_the_mechanisms():
    """`auto` means today's choice, written down for ever."""
    assert {name: metric.mechanism for name, metric in load_policy(FLIGHTS).metrics.items()} == {
        "late_departure": "rr-1",
        "main_origin": "krr-1",
        "departures": "dlap-1",
    }


def test_the_implicit_category_is_the_last_one():
    """A device with nothing to say reports `none`."""
    plan = plan_metrics(load_policy(FLIGHTS))["main_origin"]

    assert plan.mechanism.labels == ("EWR", "JFK", "LGA", "none")
    assert list(plan.mechanism.domain()) == [0, 1, 2, 3]


def test_a_plan_counts_in_steps_of_the_grid():
    """Bounds in the raw unit become an integer range."""
    plan = plan_metrics(
        built(
            ("unit: min}", "unit: min, grid: 0.5}"),
            ("per_device: count\n    type: count", "per_device: {sum: delay}\n    type: mean"),
        )
    )["departures"]

    assert (plan.grid, plan.low, plan.high) == (0.5, 0, 80)
    assert (plan.mechanism.low, plan.mechanism.high) == (0, 80)


def versions(*edits):
    return {name: plan.version for name, plan in plan_metrics(built(*edits)).items()}


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (("[EWR, JFK, LGA]", "[EWR, LGA, JFK]"), {"main_origin"}),
        (("[EWR, JFK, LGA]", "[EWR, JFK, LGA, PHL]"), {"main_origin"}),
        (("bounds: [0, 40]", "bounds: [0, 41]"), {"departures"}),
        (("{var: delay}, 60", "{var: delay}, 61"), {"late_departure"}),
        (("    type: binary\n    window: 28d\n    epsilon: 1.0", "    type: binary\n    window: 28d\n    epsilon: 0.5"),
         {"late_departure"}),
        (("{var: delay}, 60", "{var: delay}, 60.0"), set()),
        (("min_devices: 200", "min_devices: 199"), {"late_departure"}),
        (("lateness: 2h", "lateness: 3h"), set()),
        (("why: Mean departures", "why: The mean number of departures"), set()),
        (("display: {unit: departures per aircraft}", "display: {unit: flights, divide: 2}"), set()),
        (("version: 1\n", "version: 2\n"), set()),
    ],
)  # fmt: skip
def test_a_metric_has_a_new_version_where_its_figures_mean_something_else(edit, changed):
    """Sums may only be added under one version: category lists, bounds and conditions are part of it, words are not."""
    before, after = versions(), versions(edit)

    assert {name for name in before if before[name] != after[name]} == changed
