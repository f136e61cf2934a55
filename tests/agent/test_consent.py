"""P6: off is off, and consent is given to something."""

import pytest

from device_bench import HOUR, START, make_policy, opening
from discreet_agent.consent import Consent, Word, privacy_class, write_word
from discreet_agent.event import EventRefusal
from discreet_contract.errors import StoreError


def say(bench, state, policy=None, at=START):
    write_word(bench.folder, Word(state, at * 1000, policy and privacy_class(policy.policy)))


def test_opt_in_means_off_until_on(bench):
    """Nothing is stored before the owner's word."""
    bench.policy = make_policy(consent="opt-in")
    device = bench.open()

    assert device.pipeline.record([opening(START)])[0].reason is EventRefusal.CONSENT_OFF
    say(bench, "on", bench.policy)
    assert device.pipeline.record([opening(START)]) == [None]


def test_off_writes_nothing_at_all(bench, device):
    """Not an event, not a counter, not a report, not a deletion."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    say(bench, "off")
    before = {path: path.read_bytes() for path in bench.folder.iterdir()}
    bench.at(START + 5 * HOUR)

    assert device.pipeline.record([opening(START + 5)])[0].reason is EventRefusal.CONSENT_OFF
    assert device.pipeline.close_windows() == 0
    assert device.pipeline.forget() == 0
    assert {path: path.read_bytes() for path in bench.folder.iterdir()} == before


def test_after_on_again_the_next_whole_window_is_the_first(bench, device):
    """Windows that were off, wholly or in part, are never reported."""
    say(bench, "off")
    bench.at(START + 5 * HOUR + 1)
    say(bench, "on", bench.policy, at=START + 5 * HOUR + 1)
    assert device.pipeline.close_windows() == 0
    bench.at(START + 8 * HOUR + 60)
    device.pipeline.close_windows()

    assert {entry.window_start for entry in device.store.ledger.entries()} == {START + 6 * HOUR, START + 7 * HOUR}


@pytest.mark.parametrize("more", [{"sensitivity": "sensitive"}, {"cap": 1001}])
def test_a_policy_that_asks_for_more_pauses(bench, more):
    """Consent was given to something smaller."""
    consent = Consent(bench.folder)
    bench.folder.mkdir()
    say(bench, "on", make_policy())

    assert consent.refusal(make_policy().policy) is None
    assert consent.refusal(make_policy(sensitivity="technical", cap=10).policy) is None
    assert "asks for more" in consent.refusal(make_policy(**more).policy)


def test_a_broken_consent_file_is_never_a_yes(bench, device):
    """It is a loud error."""
    (bench.folder / "consent.json").write_text("{}")
    with pytest.raises(StoreError, match="cannot be read"):
        device.pipeline.record([opening(START)])
