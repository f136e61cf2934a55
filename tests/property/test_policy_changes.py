"""Whatever is edited: diff has an answer, and the gate lets through nothing breaking without a bump and a migration."""

import copy

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from discreet_contract.policy.check import check_model
from discreet_contract.policy.compile import canonical_json, fix_mechanisms, load_policy
from discreet_contract.policy.diff import diff_facts, diff_markdown, diff_policies, diff_text
from discreet_contract.policy.diff_rules import Compatibility
from discreet_contract.policy.gate import Circumstances, release_problems
from discreet_contract.policy.model import Policy
from discreet_contract.policy.schemaver import Bump, bump_made, bump_needed
from discreet_contract.policy.shape import check_shape
from policies import FLIGHTS, HOST

OLD = [load_policy(path) for path in (FLIGHTS, HOST)]
# Values that are legal somewhere, so that many edits give a policy.
LEGAL = st.sampled_from(
    [  # numbers, durations and versions, words, lists
        0,
        1,
        2,
        3,
        40,
        0.5,
        1.0,
        7.0,
        90,
        500,
        2880,
        True,
        False,
        "1d",
        "2h",
        "60d",
        "28d",
        "1-0-1",
        "1-1-0",
        "2-0-0",
        "s",
        "opt-in",
        "both",
        "sensitive",
        "technical",
        "2029-01-01",
        ["EWR", "JFK"],
        ["EWR", "JFK", "LGA", "SWF"],
        ["1-0-0"],
        [0, 50],
        "a new text",
        "last",
        "count",
        "",
    ]
)


def places(value, path=()):
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def edits(draw):
    """(old, new) policies; new is old with up to four edits, version raised."""
    old = draw(st.sampled_from(OLD))
    edited = msgspec.json.decode(canonical_json(old))
    for _ in range(draw(st.integers(0, 4))):
        *parents, last = draw(st.sampled_from(list(places(edited))))
        target = edited
        for key in parents:
            target = target[key]
        match draw(st.sampled_from(["set", "set", "remove", "copy"])):
            case "remove":
                del target[last]
            case "copy" if isinstance(target, dict):
                target["another"] = copy.deepcopy(target[last])
            case _:
                target[last] = copy.deepcopy(draw(LEGAL))
    if draw(st.booleans()):
        edited["version"] = 2
    new, problems = check_shape(Policy, edited)
    assume(new is not None and not problems and not check_model(new))
    return old, fix_mechanisms(new)


relaxed = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(edits())
def test_diff_is_total_and_silent_only_between_equals(pair):
    old, new = pair
    diff = diff_policies(old, new)

    assert (diff.changes == ()) == (msgspec.to_builtins(old) == msgspec.to_builtins(new))
    assert diff_policies(new, new).changes == ()
    assert diff_text(diff)
    assert diff_markdown(diff)
    assert msgspec.json.decode(msgspec.json.encode(diff_facts(diff)))["exit_code"] == diff.exit_code


@relaxed
@given(edits(), st.sampled_from([("aa",), ("aa", "bb")]))
def test_nothing_breaking_is_released_without_bump_and_migration(pair, signatures):
    old, new = pair
    if release_problems(old, new, Circumstances(signatures)):
        return
    diff = diff_policies(old, new)

    assert diff.compatibility is not Compatibility.BREAKING or new.release.migration.strip()
    for name in old.signals.keys() & new.signals.keys():
        needed = bump_needed(diff.changes, name)
        made = bump_made(old.signals[name].version, new.signals[name].version)
        assert needed is Bump.NONE or (made is not None and made >= needed)
    assert len(signatures) == 2 or diff.loss_after <= diff.loss_before
    assert new.version == old.version + 1
