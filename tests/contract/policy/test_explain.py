"""What an auditor is told: everything that stays, everything that leaves, and what it can reveal."""

import math

import pytest

from discreet_contract.policy.compile import canonical_json, load_policy, policy_hash
from discreet_contract.policy.explain import explain
from discreet_contract.policy.explain_document import arrange, chance
from discreet_contract.policy.explain_render import as_html, as_markdown, as_text
from discreet_contract.policy.loss import best_guess
from discreet_contract.policy.registry import registry_entry
from policies import FLIGHTS, HOST, MEDIA, built


@pytest.fixture(params=[FLIGHTS, HOST], ids=lambda path: path.stem)
def policy(request):
    return load_policy(request.param)


def test_every_signal_field_and_metric_is_named(policy):
    """Nothing is left out."""
    text = as_text(arrange(explain(policy, policy_hash(canonical_json(policy)))))

    for name, signal in policy.signals.items():
        assert name in text
        assert signal.why in text
        assert all(field in text for field in signal.fields)
    for name, metric in policy.metrics.items():
        assert f"  {name}: one {metric.type} value" in text
        assert metric.why in text
    assert policy_hash(canonical_json(policy)).hex() in text


def test_what_cannot_be_undone_is_said(policy):
    """P6: a sent report cannot be recalled, a silent device can be noticed."""
    text = as_text(arrange(explain(policy, bytes(32))))

    assert "cannot be recalled" in text
    assert "a silent one can be noticed" in text


def test_the_loss_is_the_plain_sum_under_its_cap():
    """Three metrics at ε = 1: 3 in 28 days, 42 in a year of up to fourteen windows."""
    loss = explain(load_policy(FLIGHTS), bytes(32))["epsilon"]

    assert {key: loss["per_28_days"][key] for key in ("asked", "cap", "at_most")} == {
        "asked": 3,
        "cap": 4,
        "at_most": 3,
    }
    assert loss["per_365_days"]["asked"] == 42.0
    assert loss["lifetime_cap"] == 120.0


def test_what_is_asked_beyond_a_cap_is_not_lost():
    """The host's minutes ask for far more than twenty."""
    loss = explain(load_policy(HOST), bytes(32))["epsilon"]["per_28_days"]

    assert loss["asked"] == 28 * 1440
    assert loss["at_most"] == loss["cap"] == 20


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 2.0, 4.0])
def test_the_best_guess_is_that_of_an_even_bet(epsilon):
    """Odds of e^ε to one."""
    guess = best_guess(epsilon)

    assert guess / (1 - guess) == pytest.approx(math.exp(epsilon))


RENDERINGS = {"text": as_text, "md": as_markdown, "html": as_html}


def test_the_guess_after_a_loss_is_bayes_rule():
    """Recomputed from odds: prior odds times e^ε."""
    for prior in (0.5, 0.01):
        odds = prior / (1 - prior) * math.exp(3.0)
        assert best_guess(3.0, prior) == pytest.approx(odds / (1 + odds))


def test_figures_of_a_metric_are_those_of_its_windows():
    """28-day windows: two can start within 30 days, fourteen within 365."""
    guesses = explain(load_policy(FLIGHTS), bytes(32))["leaves"]["departures"]["guesses"]

    assert [guesses[when]["epsilon"] for when in ("before", "one_report", "30_days", "365_days")] == [0, 1, 2, 14]
    assert guesses["before"]["even"] == 0.5
    assert guesses["before"]["rare"] == 0.01
    assert guesses["30_days"]["rare"] == pytest.approx(0.01 * math.e**2 / (0.99 + 0.01 * math.e**2), abs=1e-6)


@pytest.mark.parametrize("form", RENDERINGS)
def test_the_headings_are_those_of_the_guide(policy, form):
    """NIST SP 800-226: the layers of its pyramid."""
    page = RENDERINGS[form](arrange(explain(policy, bytes(32))))

    for heading in (
        "Data collection exposure",
        "Unit of privacy",
        "Privacy parameters",
        "Algorithms and correctness",
        "Utility and bias",
        "Trust model",
        "Security and access control",
        "Side channels",
    ):
        assert heading in page


def test_the_page_runs_nothing_and_loads_nothing(policy):
    page = as_html(arrange(explain(policy, bytes(32))))

    assert "<script" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert "default-src 'none'; style-src 'sha256-" in page
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')


def test_planted_markup_stays_text():
    """In the words of a policy, for each rendering."""
    planted = built(("why: One departure", "why: '<script>alert(1)</script> [x](y) | \"&amp;' #"))
    document = arrange(explain(planted, bytes(32)))

    assert '&lt;script&gt;alert(1)&lt;/script&gt; [x](y) | "&amp;amp;' in as_html(document)
    assert "<script" not in as_html(document)
    assert '\\<script\\>alert(1)\\</script\\> \\[x\\](y) \\| "&amp;' in as_markdown(document)


def test_a_policy_cannot_repaint_a_terminal():
    """Escape sequences and bidirectional marks are replaced."""
    planted = built(("why: One departure", 'why: "\\e[2J \\u202E evil" #'))

    for render in RENDERINGS.values():
        page = render(arrange(explain(planted, bytes(32))))
        assert "\x1b" not in page
        assert "\u202e" not in page


def test_a_chance_never_rounds_up_to_certainty():
    assert [chance(p) for p in (0.5, 0.01, 0.9995, 0.99999, 1.0)] == [
        "50%",
        "1%",
        "99.95%",
        "over 99.99%",
        "over 99.99%",
    ]


def test_a_registry_entry_holds_every_field_of_its_tier(policy):
    facts = explain(policy, bytes(32))
    entry = registry_entry(facts)

    assert entry["tier"] == 3
    assert entry["privacy_loss"]["privacy_unit"] == "one device"
    parameters = entry["privacy_loss"]["privacy_parameters"]
    assert parameters["epsilon_per_365_days"] == facts["epsilon"]["per_365_days"]["at_most"]
    assert set(parameters["epsilon_per_report"]) == set(policy.metrics)
    assert entry["implementation"]["mechanisms"] == sorted({m.mechanism for m in policy.metrics.values()})


def test_what_nothing_acts_on_yet_is_said():
    """An auditor must not take a declaration for a deed."""
    facts = explain(load_policy(MEDIA), bytes(32))
    assert facts["not_acted_on"] == ["expected_devices"]
    assert "does not act on it yet: " in as_text(arrange(facts))
    assert explain(load_policy(FLIGHTS), bytes(32))["not_acted_on"] == []
