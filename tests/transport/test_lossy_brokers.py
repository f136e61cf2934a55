"""What a real Mosquitto loses after it said success, and that the totals are exact all the same.

Each case undoes one setting of the shipped configuration, shows that reports were really lost, and ends with a count of
every (metric, window). The default queue of 1,000 is ten here: the same drop with fewer reports.
"""

import time

import pytest

from deployment import Deployment, Listener
from discreet_contract.broker import new_client
from discreet_contract.wire import reports_topic

WINDOWS = 30
REPORTS = 3 * WINDOWS
AGGREGATOR = "discreet-aggregator-crashers"

pytestmark = pytest.mark.slow


@pytest.fixture
def lossy(tmp_path):
    """Starts a deployment, shipped configuration with lines replaced; its aggregator has a session but is away."""
    deployments = []

    def start(*edits):
        deployment = Deployment(tmp_path, "mosquitto")
        deployments.append(deployment)
        deployment.start_broker()
        deployment.kill("broker")
        configuration = tmp_path / "mosquitto.conf"
        text = configuration.read_text()
        for shipped, other in edits:
            assert f"\n{shipped}\n" in text
            text = text.replace(f"\n{shipped}\n", f"\n{other}\n")
        configuration.write_text(text)
        deployment.start_broker()
        deployment.start_aggregator()
        deployment.wait_until(lambda: '"ready"' in (tmp_path / "aggregator.log").read_text(), "a session")
        deployment.stop("aggregator")
        return deployment

    yield start
    for deployment in deployments:
        deployment.close()


def send_everything(deployment):
    """The device hands every report to the broker, which says success to each; then the device is away."""
    windows = deployment.seed(windows=WINDOWS, events_each=1)
    with Listener(deployment.port, reports_topic("crashers")) as listener:
        deployment.start_agent()
        deployment.wait_until(lambda: len(set(listener.heard)) >= REPORTS, "every report was sent")
        deployment.stop("agent")
    assert deployment.waiting() >= REPORTS  # PUBACK cleared none
    return windows


def what_the_broker_kept(deployment):
    """Distinct reports that the aggregator gets without the device's help."""
    deployment.start_aggregator()
    before = -1
    while (now := count(deployment)) != before:
        before = now
        time.sleep(2.0)
    return now


def count(deployment):
    with deployment.reader() as reader:
        return reader.seen_ids()


def check_exact_after_resend(deployment, windows):
    deployment.start_agent()
    deployment.wait_until(
        lambda: deployment.made() >= REPORTS and deployment.waiting() == 0, "every report has its receipt", 60
    )
    deployment.stop("agent")
    deployment.check_exactly_once(windows)


def test_a_full_queue_drops_and_says_success(lossy):
    """Shipped: no bound by count, 256 MB by size."""
    deployment = lossy(
        ("max_queued_messages 0", "max_queued_messages 10"), ("max_inflight_messages 1000", "max_inflight_messages 20")
    )
    windows = send_everything(deployment)
    assert what_the_broker_kept(deployment) < REPORTS
    check_exact_after_resend(deployment, windows)


@pytest.mark.parametrize("persistence", ["true", "false"])
def test_a_killed_broker_forgets_queue_and_session(lossy, persistence):
    """With persistence it forgets what came since the last autosave, as shipped a minute at most; without, all."""
    deployment = lossy(("persistence true", f"persistence {persistence}"))
    windows = send_everything(deployment)
    deployment.kill("broker")
    deployment.start_broker()
    assert what_the_broker_kept(deployment) < REPORTS
    check_exact_after_resend(deployment, windows)


def test_the_session_of_a_worker_expires_with_what_waits_in_it(lossy):
    """Shipped: kept for 14 days. Here a clean start under its client id ends it, as expiry would."""
    deployment = lossy()
    windows = send_everything(deployment)
    connected = []
    client = new_client(deployment.account("aggregator"), AGGREGATOR)
    client.on_connect = lambda *_: connected.append(True)
    client.connect("127.0.0.1", deployment.port, clean_start=True)
    client.loop_start()
    deployment.wait_until(lambda: connected, "the clean start")
    client.disconnect()
    client.loop_stop()
    assert what_the_broker_kept(deployment) < REPORTS
    check_exact_after_resend(deployment, windows)


def test_the_shipped_configuration_keeps_all_of_it(lossy):
    """With nothing undone the broker hands over every report when the aggregator comes back."""
    deployment = lossy()
    windows = send_everything(deployment)
    assert what_the_broker_kept(deployment) >= REPORTS
    check_exact_after_resend(deployment, windows)
