"""The aggregator, killed between any two steps, loses no report that it answered and counts none twice."""

import pytest

from deployment import Listener

PROCESSING = [("process", step) for step in range(1, 420, 16)]
ANSWERING = [("_flush", step) for step in (2, 3, 5)] + [("answer", step) for step in range(1, 40, 6)]


@pytest.mark.deployment(batch=10)
def test_killed_at_every_stage_of_a_batch(deployment):
    """Thirty-odd SIGKILLs on the way from an envelope to its receipt."""
    windows = deployment.seed(windows=120)
    deployment.start_agent()
    killed_at = []
    with Listener(deployment.port, "#") as listener:
        for trigger, step in [*PROCESSING, *ANSWERING]:
            killed_at.append(deployment.kill_at("aggregator", trigger, step))
        deployment.start_aggregator()
        deployment.wait_until(
            lambda: deployment.made() >= 3 * len(windows) and deployment.waiting() == 0, "all is settled", 90
        )
        assert deployment.stop("agent") == 0
        deployment.check_exactly_once(windows)
        deployment.check_same_bytes(listener.envelopes)
    assert len([name for name in killed_at if name]) >= 25, killed_at
    steps = {name.split(" ", 1)[1] for name in killed_at if name}
    assert {"execute", "unseal", "admit"} <= steps, sorted(steps)
