"""Where policies come from, what is kept of them, and that nothing is lost or written at the wrong time."""

import json

import pytest
from nacl.signing import SigningKey

from device_bench import ROOT, START
from discreet_agent.policies import CONFLICT, KEPT, Policies
from discreet_contract.clock import ManualClock
from discreet_contract.errors import ConfigError, RetryableError, SignatureRefusedError
from discreet_contract.policy.obey import PolicyRefusal, Trust
from releases import Releases

TRUST = Trust((ROOT.verify_key.encode().hex(),))


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def configured(tmp_path):
    return tmp_path / "policy.json"


@pytest.fixture
def releases(tmp_path):
    return Releases(tmp_path / "log")


@pytest.fixture
def start(configured, state):
    """The device's policies as after a start; what it was told is kept, as the daemon's first tick does."""

    def started(trust=TRUST):
        policies = Policies(configured, trust, state, ManualClock(START * 1000))
        policies.start()
        policies.keep()
        return policies

    return started


def version(policies):
    return policies.obeyed.policy.policy.version


def test_a_policy_is_kept_and_outlives_its_file(releases, configured, start):
    """The missing file is said."""
    configured.write_bytes(releases.release())
    assert start().refusal is None
    configured.unlink()
    again = start()

    assert version(again) == 1
    assert again.source == "kept"
    assert again.refusal.reason is PolicyRefusal.UNREADABLE


def test_a_changed_file_is_taken_without_a_restart_and_once(releases, configured, start):
    """A look at an unchanged one costs a `stat`."""
    configured.write_bytes(releases.release())
    policies = start()
    before = policies.obeyed
    policies.look()
    assert policies.obeyed is before
    configured.write_bytes(releases.release())
    policies.look()

    assert version(policies) == 2
    assert policies.source == "file"


def test_what_the_broker_brings_is_taken_and_outlives_the_older_file(releases, configured, start):
    """The file a device was installed with stays older for ever; that is no refusal."""
    configured.write_bytes(releases.release())
    policies = start()
    policies.offer(releases.release(), "broker")
    policies.keep()
    again = start()

    assert (version(policies), policies.source) == (2, "broker")
    assert version(again) == 2
    assert again.refusal is None
    assert not again.uncounted


def test_an_older_file_put_there_later_is_refused(releases, configured, start):
    """That is a rollback."""
    first = releases.release()
    configured.write_bytes(releases.release())
    policies = start()
    configured.write_bytes(first)
    policies.look()

    assert version(policies) == 2
    assert policies.refusal.reason is PolicyRefusal.ROLLBACK
    assert policies.uncounted == {PolicyRefusal.ROLLBACK: 1}


def test_the_same_bad_delivery_is_counted_once(releases, configured, start):
    """A broker shows its retained message at every connection."""
    configured.write_bytes(releases.release())
    policies = start()
    for _ in range(3):
        policies.offer(b"{}", "broker")
    policies.offer(b"[]", "broker")
    policies.offer(b"{}", "broker")

    assert policies.uncounted == {PolicyRefusal.FORM: 3}
    assert policies.refusal.source == "broker"


def test_a_newer_policy_ends_the_talk_of_a_refused_one(releases, configured, start):
    """`status` then has nothing to complain of."""
    configured.write_bytes(releases.release())
    policies = start()
    policies.offer(b"{}", "broker")
    policies.offer(releases.release(), "broker")

    assert policies.refusal is None
    assert policies.uncounted == {PolicyRefusal.FORM: 1}


def test_nothing_is_written_before_it_is_asked_for(releases, configured, state):
    """While the owner says no, nothing is (P6)."""
    configured.write_bytes(releases.release())
    policies = Policies(configured, TRUST, state, ManualClock(START * 1000))
    policies.start()

    assert list(state.iterdir()) == []
    policies.keep()
    assert [path.name for path in state.iterdir()] == [KEPT]


def test_a_split_view_is_kept_as_evidence(releases, configured, start, state, tmp_path):
    """Both heads are signed by the same root: that is what an auditor wants to see."""
    configured.write_bytes(releases.release())
    policies = start()
    other = Releases(tmp_path / "fork").release(cap=999)
    policies.offer(other, "broker")
    policies.keep()
    policies.offer(Releases(tmp_path / "another").release(cap=998), "broker")
    policies.keep()

    assert policies.refusal.reason is PolicyRefusal.SPLIT_VIEW
    assert (state / CONFLICT).read_bytes() == other  # the first one: later ones, true or not, bury no evidence
    assert version(start()) == 1


def test_a_change_of_roots_that_was_followed_is_never_forgotten(releases, configured, start, tmp_path):
    """Not by a restart either: the retired key releases nothing more to this device."""
    configured.write_bytes(releases.release())
    new = SigningKey(bytes(31) + b"\x07")
    releases.log = releases.log.change_root(ROOT, new.verify_key.encode().hex())
    releases.key = new
    policies = start()
    policies.offer(releases.release(), "broker")
    policies.keep()
    stolen = Releases(tmp_path / "log", ROOT)
    content = json.loads(stolen.release()) | {"successions": []}
    again = start()
    again.offer(json.dumps(content).encode(), "broker")

    assert version(again) == 2
    assert again.obeyed.successions
    assert again.refusal.reason is PolicyRefusal.NO_PINNED_SIGNATURE


def test_a_full_disk_may_pass(releases, configured, start, state):
    """Nothing changes then, and the next call tries again."""
    configured.write_bytes(releases.release())
    policies = start()
    target = state / f"{KEPT}.new"
    target.mkdir()  # what even root cannot write over
    policies.offer(releases.release(), "broker")
    with pytest.raises(RetryableError):
        policies.keep()
    target.rmdir()
    policies.keep()

    assert version(start()) == 2


def test_without_any_policy_the_start_fails_with_the_file_named(configured, start):
    """And with the next step."""
    with pytest.raises(ConfigError, match=r"policy\.json:1") as missing:
        start()
    configured.write_bytes(Releases(configured.parent / "other", SigningKey(bytes(32))).release())
    with pytest.raises(SignatureRefusedError, match=r"policy\.json:1.*NO_PINNED_SIGNATURE") as refused:
        start()

    assert missing.value.hint
    assert refused.value.hint


def test_a_kept_policy_that_cannot_be_verified_is_named(releases, configured, start, state):
    """Damaged, or signed by a root that is pinned no longer: the operator must know which file."""
    configured.write_bytes(releases.release())
    start()
    (state / KEPT).write_bytes(b"{")
    with pytest.raises(SignatureRefusedError, match=r"policy\.kept\.json:1") as refused:
        start()

    assert "rollback" in refused.value.hint


def test_pinning_a_witness_later_leaves_the_policy_in_force(releases, configured, start):
    """The next one must bear its signature."""
    configured.write_bytes(releases.release())
    start()
    witness = SigningKey(bytes(31) + b"\x08")
    policies = start(Trust(TRUST.roots, witness.verify_key.encode().hex()))
    policies.offer(releases.release(), "broker")
    assert version(policies) == 1
    assert policies.refusal.reason is PolicyRefusal.WITNESS_MISSING
    releases.log = releases.log.cosign(witness)
    policies.offer(releases.bundle(), "broker")

    assert version(policies) == 2


def test_a_change_of_roots_under_the_same_head_is_followed(releases, configured, start):
    """The operator publishes it before the next release."""
    configured.write_bytes(releases.release())
    policies = start()
    new = SigningKey(bytes(31) + b"\x07")
    releases.log = releases.log.change_root(ROOT, new.verify_key.encode().hex())
    policies.offer(releases.bundle(), "broker")
    policies.keep()

    assert len(start().obeyed.successions) == 1


def test_signatures_of_strangers_are_no_news(releases, configured, start, state):
    """Whoever carries a policy can add them; nothing is written for that."""
    configured.write_bytes(releases.release())
    policies = start()
    kept = (state / KEPT).stat().st_mtime_ns
    releases.log = releases.log.cosign(SigningKey(bytes(31) + b"\x05"))
    policies.offer(releases.bundle(), "broker")
    policies.keep()

    assert policies.source == "file"
    assert (state / KEPT).stat().st_mtime_ns == kept


def test_what_did_not_fit_is_judged_again_after_a_newer_policy(releases, configured, start):
    """A proof from version 2 says nothing to a device at version 1, and all to one at version 2."""
    first = releases.release()
    second = releases.release()
    third = json.loads(releases.release())
    third["consistency"] = [item for item in third["consistency"] if item["size"] == 2]
    third = json.dumps(third).encode()
    configured.write_bytes(first)
    policies = start()
    policies.offer(third, "broker")
    assert policies.refusal.reason is PolicyRefusal.GROWTH_UNPROVEN
    configured.write_bytes(second)
    policies.look()
    policies.offer(third, "broker")

    assert version(policies) == 3


def test_an_expired_file_is_judged_again_when_the_clock_may_have_been_mended(releases, configured, state):
    """Not every second."""
    clock = ManualClock(START * 1000)
    configured.write_bytes(releases.release())
    policies = Policies(configured, TRUST, state, clock)
    policies.start()
    clock.ms = 2_000_000_000_000  # 2033: every key is over
    configured.write_bytes(releases.release())
    for _ in range(3):
        policies.look()
    assert policies.uncounted == {PolicyRefusal.EXPIRED: 1}
    clock.ms += 3_600_001
    policies.look()

    assert policies.uncounted == {PolicyRefusal.EXPIRED: 2}


def test_a_file_that_can_be_read_again_is_no_longer_complained_of(releases, configured, start):
    """Even where it says nothing new."""
    content = releases.release()
    configured.write_bytes(content)
    policies = start()
    configured.unlink()
    policies.look()
    assert policies.refusal.reason is PolicyRefusal.UNREADABLE
    configured.write_bytes(content)
    policies.look()

    assert policies.refusal is None
