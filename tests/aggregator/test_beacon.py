"""What the aggregator says about the time, and under which key."""

from nacl.public import PrivateKey

from discreet_aggregator.beacon import beacon_now
from discreet_aggregator.policies import PolicyShelf
from discreet_contract.beacon import read_beacon
from discreet_contract.envelope import encode_key_id


def test_the_time_is_signed_with_the_key_that_the_policy_names(fleet, pipeline):
    """By this side's clock."""
    keys = next(iter(fleet.shelf.values())).policy.aggregator.keys
    assert read_beacon(pipeline.beacon(), "test-fleet", keys) == fleet.clock.now_ms()


def test_without_a_fitting_key_no_time_is_said(fleet):
    """Another key under the same id, none at all, a day on which none is valid, no policy."""
    [key_id] = {key.id for policy in fleet.shelf.values() for key in policy.policy.aggregator.keys}
    other = {encode_key_id(key_id): PrivateKey.generate()}
    now_ms = fleet.clock.now_ms()
    assert beacon_now(fleet.shelf, other, "test-fleet", now_ms) is None
    assert beacon_now(fleet.shelf, {}, "test-fleet", now_ms) is None
    assert beacon_now(PolicyShelf([]), other, "test-fleet", now_ms) is None
    assert beacon_now(fleet.shelf, other, "test-fleet", 2**42) is None
