"""The broker, killed in the middle of traffic: no broker's queue is a source of truth."""

import time

KILLS = 5


def test_killed_during_traffic(deployment):
    """Five SIGKILLs while reports are under way; totals are exact."""
    windows = deployment.seed(windows=400, events_each=1)
    deployment.start_aggregator()
    deployment.start_agent()
    deployment.wait_until(lambda: deployment.made() > 300, "reports are made")
    for kill in range(KILLS):
        settled = deployment.made() - deployment.waiting()
        deployment.wait_until(
            lambda settled=settled: deployment.made() - deployment.waiting() > settled, "some reports are settled"
        )
        assert deployment.waiting() > 0, f"too little traffic for kill {kill + 1}"
        deployment.kill("broker")
        time.sleep(0.1)
        deployment.start_broker()
    deployment.wait_until(
        lambda: deployment.made() >= 3 * len(windows) and deployment.waiting() == 0, "all is settled", 120
    )
    deployment.stop("agent")
    deployment.check_exactly_once(windows)
