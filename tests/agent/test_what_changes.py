"""The tag that validators and streams stand on: another one when an app's flags may answer otherwise, else the same."""

import json

import pytest

from device_bench import Bench
from discreet_agent.event import EventLine
from discreet_agent.senders import ANYONE, Speaker
from discreet_contract.clock import ManualClock
from personal_bench import NOW_MS, personal_policy

FEATURES = {
    "plays": {"from": "playback.stopped", "aggregate": "count", "window": "1h"},
    "crashes": {"from": "app.crashed", "aggregate": "count", "window": "1h"},
}
WORKED_OUT = """  told:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting: {if: [{">": [{var: {var: which}}, 1700482000]}, "on", "off"]}
"""
REST = """
segments:
  busy: {when: {">=": [{var: plays}, 2]}, min_stay: 0s}
  shaky: {when: {">=": [{var: crashes}, 1]}, min_stay: 0s}
flags:
  plain: {state: ENABLED, variants: {"on": true, "off": false}, defaultVariant: "off"}
  rows:
    state: ENABLED
    variants: {personal: personal, editorial: editorial}
    defaultVariant: editorial
    targeting: {if: [{in: [busy, {var: segments}]}, personal, editorial]}
  gentle:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting: {if: [{in: [shaky, {var: segments}]}, "on", "off"]}
  dated:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting: {if: [{">": [{var: $flagd.timestamp}, 2000000000]}, "on", "off"]}
"""


def app(*flags, features=(), segments=()):
    return Speaker("app", frozenset(), frozenset(features), frozenset(segments), frozenset(flags))


@pytest.fixture
def clock():
    return ManualClock(NOW_MS)


@pytest.fixture
def device(tmp_path, clock):
    bench = Bench(tmp_path, clock=clock, policy=personal_policy(features=FEATURES, rest=REST))
    yield bench.open()
    bench.close()


def played(device):
    assert device.pipeline.record([EventLine("playback.stopped", "1-0-0", NOW_MS, {"genre": "news", "seconds": 60})])


def crashed(device):
    assert device.pipeline.record([EventLine("app.crashed", "1-0-0", NOW_MS, {})])


def tags(device, *speakers):
    return [device.pipeline.personal.tag(speaker) for speaker in speakers]


def test_it_changes_when_an_answer_may_and_not_before(device):
    before = tags(device, ANYONE)
    played(device)
    assert tags(device, ANYONE) == before
    played(device)
    assert tags(device, ANYONE) != before


def test_what_turns_other_flags_is_not_in_it(device):
    """Or an app would learn of its device what it may not read."""
    rows, gentle, plain = app("rows"), app("gentle"), app("plain")
    before = tags(device, rows, gentle, plain)
    crashed(device)
    after = tags(device, rows, gentle, plain)
    assert [was == now for was, now in zip(before, after, strict=True)] == [True, False, True]


def test_time_alone_changes_it_where_a_flag_reads_the_time(device, clock):
    dated, rows = app("dated"), app("rows")
    before = tags(device, dated, rows)
    clock.ms += 60_000
    after = tags(device, dated, rows)
    assert [was == now for was, now in zip(before, after, strict=True)] == [False, True]


def test_an_explanation_names_nothing_outside_the_scope(device):
    """The rule itself does: so it is left out where it reads something that does not exist for this app."""
    played(device)
    hidden = device.pipeline.personal.explain("rows", {}, app("rows"))
    half = device.pipeline.personal.explain("rows", {}, app("rows", segments=["busy"]))
    whole = device.pipeline.personal.explain("rows", {}, app("rows", segments=["busy"], features=["plays"]))
    for said in (hidden, half):
        assert said["rule"]["targeting"] is None
        assert "plays" not in json.dumps(said)
    assert "busy" not in json.dumps(hidden)
    assert whole["rule"]["targeting"]
    assert "hidden" not in whole["rule"]
    assert [feature["name"] for feature in whole["features"]] == ["plays"]


def test_time_alone_changes_it_where_a_rule_works_out_what_it_reads(device, clock):
    """`$flagd.timestamp` too, then: an app's own context may name it."""
    told = app("told")
    device.pipeline.adopt(personal_policy(features=FEATURES, rest=REST + WORKED_OUT, version=2))
    before = tags(device, told)
    clock.ms += 60_000
    assert tags(device, told) != before
