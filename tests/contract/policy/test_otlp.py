"""A signal made of a metric of OpenTelemetry: what fits, what does not, and what a change of it means."""

import pytest

from discreet_contract.errors import PolicyError
from discreet_contract.policy.compile import build_policy, canonical_json
from discreet_contract.policy.diff import diff_policies
from discreet_contract.policy.explain import explain
from discreet_contract.policy.explain_document import arrange
from discreet_contract.policy.explain_render import as_text
from policies import EXHAUSTIBLE, built, edited, parsed

SIGNALS = """signals:
  host.cpu:
    version: 1-0-0
    role: observation
    kind: context
    sensitivity: technical
    why: How busy the processor is, as the host's own exporter says.
    owner: ops@flights.example
    expires: 2028-01-01
    retention: 1d
    otlp: {metric: system.cpu.utilization, value: busy, unit: "1", attributes: {mode: cpu.mode}, only: {cpu.mode: user}}
    fields:
      busy: {type: number, min: 0, max: 1, grid: 0.01}
      mode: {type: category, values: [user, system]}
      core: {type: number, min: 0, max: 1000, required: false}
"""
WITH = ("signals:\n", SIGNALS)
TWIN = SIGNALS.replace("signals:\n", "").replace("host.cpu", "host.cpu_again")


def problems(*edits):
    with pytest.raises(PolicyError) as caught:
        build_policy(parsed(edited(EXHAUSTIBLE, WITH, *edits)))
    return [(problem.rule, problem.message) for problem in caught.value.problems]


def test_a_metric_becomes_a_signal():
    policy = built(EXHAUSTIBLE, WITH)
    assert policy.signals["host.cpu"].otlp.only == {"cpu.mode": "user"}
    assert b'"metric":"system.cpu.utilization"' in canonical_json(policy)


def test_a_policy_without_one_keeps_its_canonical_form():
    """The key came later: policies that were signed before it have the same hash for ever."""
    assert b"otlp" not in canonical_json(built())


@pytest.mark.parametrize(
    ("edit", "rule", "said"),
    [
        (("value: busy", "value: bussy"), "UNKNOWN_FIELD", "did you mean 'busy'?"),
        (("value: busy", "value: mode"), "OTLP", "'mode' is none"),
        (("{mode: cpu.mode}", "{mood: cpu.mode}"), "UNKNOWN_FIELD", "did you mean 'mode'?"),
        (("{mode: cpu.mode}", "{mode: cpu.mode, busy: cpu.busy}"), "OTLP", "takes the data point's value"),
        (("attributes: {mode: cpu.mode}", "attributes: {}"), "OTLP", "'mode' is filled by nothing"),
        (("metric: system.cpu.utilization", 'metric: ""'), "VALUE", ""),
        (("only: {cpu.mode: user}", "only: {cpu.mode: 1}"), "VALUE", ""),
        (("metrics:\n", f"{TWIN}metrics:\n"), "OTLP", "tell them apart by `only`"),
    ],
)
def test_what_does_not_fit_is_said(edit, rule, said):
    assert (rule, True) in [(found, said in message) for found, message in problems(edit)]


def test_a_source_that_comes_collects_more_and_one_that_changes_is_suspect():
    without = (WITH[0], SIGNALS.replace("    otlp: {metric: system.cpu.utilization", "    # {"))
    plain, old = built(EXHAUSTIBLE, without), built(EXHAUSTIBLE, WITH)
    new = built(EXHAUSTIBLE, (WITH[0], SIGNALS.replace("only: {cpu.mode: user}", "only: {cpu.mode: system}")))

    def verdicts(before, after):
        changes = diff_policies(before, after).changes
        return [(".".join(c.path), c.compatibility.name, c.privacy.name) for c in changes]

    assert verdicts(plain, old) == [("signals.host.cpu.otlp", "COMPATIBLE", "REGRESSING")]
    assert verdicts(old, plain) == [("signals.host.cpu.otlp", "BREAKING", "IMPROVING")]
    assert verdicts(old, new) == [("signals.host.cpu.otlp.only.cpu.mode", "BREAKING", "REGRESSING")]


def test_explain_says_where_it_comes_from():
    policy = built(EXHAUSTIBLE, WITH)
    assert "made of the metric system.cpu.utilization" in as_text(arrange(explain(policy, bytes(32), tight=False)))
