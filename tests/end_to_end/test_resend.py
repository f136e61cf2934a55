"""An aggregator whose database is lost: the command, a real broker, a real device."""

import json
import shutil


def test_what_an_aggregator_has_lost_comes_again(deployment):
    """Nothing is drawn anew, and nothing counts twice; the broker keeps the request for a device that is away."""
    windows = deployment.seed(windows=3)
    deployment.start_aggregator()
    deployment.start_agent()
    deployment.wait_until(lambda: deployment.made() >= 3 * len(windows) and deployment.waiting() == 0, "all is settled")
    deployment.stop("agent")
    deployment.stop("aggregator")
    shutil.rmtree(deployment.folder / "aggregator")
    deployment.start_aggregator()

    asked = deployment.discreet(
        *("aggregator", "resend", "--config", str(deployment.aggregator_toml)),
        *("--from", "2020-01-01", "--reason", "the disk is gone", "--json"),
    )
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["reason"] == "the disk is gone"
    deployment.start_agent()
    deployment.wait_until(
        lambda: "reports_resent" in deployment.status().get("counters", {}) and deployment.waiting() == 0,
        "all is settled again",
    )
    assert deployment.stop("agent") == 0
    deployment.check_exactly_once(windows)
