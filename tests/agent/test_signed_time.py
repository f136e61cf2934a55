"""What a running agent makes of signed times."""

from structlog.testing import capture_logs

from device_bench import AGGREGATOR, START, make_policy
from discreet_agent.signed_time import SignedTime
from discreet_contract.beacon import BeaconRefusal, make_beacon


def test_junk_counts_and_is_said_once_until_a_time_is_believed():
    """Whoever may write the topic shall not fill the journal, nor hide among what was said before."""
    policy, signed = make_policy().policy, SignedTime()
    with capture_logs() as said:
        for number in range(500):
            signed.hear(number.to_bytes(2, "big"))
            assert signed.take(policy) is None
        assert len(said) == 1
        signed.hear(make_beacon("testers", START * 1000, "test", AGGREGATOR))
        assert signed.take(policy) == START * 1000
        assert signed.take(policy) is None  # taken
        signed.hear(b"junk")
        signed.take(policy)

    assert signed.refused == {BeaconRefusal.FORM: 501}
    assert len(said) == 2
