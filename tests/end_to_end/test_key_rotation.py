"""A key's whole life on running processes: made, named, sealed to beside the old one, and the old one destroyed."""

import json
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from deployment import MINUTE, POLICY, event
from discreet_agent.device import open_device
from discreet_agent.link import MqttLink
from discreet_aggregator.refusal import RefusalReason
from discreet_contract.clock import ManualClock, ReplayClock
from discreet_contract.errors import ConfigError, StoreError
from discreet_contract.policy.bundle import read_bundle
from discreet_contract.policy.log import PolicyLog
from discreet_contract.policy.obey import believe

DAY = 86_400
TODAY = datetime.now(UTC).date()


def make(deployment, name, policy, at):
    """One device's three reports of one window, sealed at `at` (seconds)."""
    clock = ManualClock((at - 2 * MINUTE) * 1000)
    with open_device(deployment.folder / name, policy, clock) as device:
        device.pipeline.close_windows()
        start = at - at % MINUTE - MINUTE
        clock.ms = at * 1000
        assert device.pipeline.record([event(start + 1)]) == [None]
        device.pipeline.close_windows()
        return [row.envelope for row in device.store.outbox.due(clock.ms, 100)]


def counted(deployment):
    """Accepted reports in all, and refusals by reason."""
    with suppress(ConfigError, StoreError), deployment.reader() as reader:
        return sum(reader.accepted().values()), {row.reason: row.count for row in reader.refusals()}
    return 0, {}


def keys(deployment, *arguments):
    return deployment.discreet("aggregator", "keys", *arguments, "--config", deployment.aggregator_toml)


def sealed_to(envelopes):
    return {envelope[4:12].rstrip(b"\0").decode() for envelope in envelopes}


def prepare(deployment, clock, now):
    """The aggregator on a replayed clock, and a policy whose only key ends in three days; returns its source."""
    ReplayClock.write(clock, now * 1000)
    toml = deployment.folder / "aggregator.toml"
    toml.write_text('replay_clock = "clock"\n' + toml.read_text())
    source = deployment.folder / "policy.yaml"
    public = deployment.key.public_key.encode().hex()
    ends = (TODAY + timedelta(days=3)).isoformat()
    source.write_text(POLICY.format(public_key=public, min_devices=1).replace("until: 2040-01-01", f"until: {ends}"))
    shutil.rmtree(deployment.folder / "releases")  # no version may let devices seal to the old key for longer
    deployment.log = PolicyLog.open(deployment.folder / "releases")
    deployment.deliver(("until: 2040-01-01", f"until: {ends}"))
    return source


def test_a_key_is_rotated_while_all_goes_on(deployment):
    """Both keys open during the overlap; the old one is kept as long as it may count, then gone; nothing twice."""
    now = int(time.time())
    clock = deployment.folder / "clock"
    source = prepare(deployment, clock, now)
    old_policy = deployment.policy
    aggregator = deployment.start_aggregator()
    log = deployment.folder / "aggregator.log"
    deployment.wait_until(lambda: '"ready"' in log.read_text(), "the aggregator's subscription")
    with MqttLink(deployment.account("device"), "crashers", lambda _: None) as link:
        deployment.wait_until(lambda: link.connected, "the connection")

        def publish(envelopes):
            assert all(link.publish(envelope) for envelope in envelopes)

        first = make(deployment, "one", old_policy, now)
        assert sealed_to(first) == {"test"}
        publish(first)
        deployment.wait_until(lambda: counted(deployment)[0] == len(first), "the first device is counted")

        assert keys(deployment, "new", "k2").returncode == 0
        begins = (TODAY + timedelta(days=1)).isoformat()
        done = keys(deployment, "activate", "k2", str(source), "--from", begins)
        assert "2 day(s) of overlap" in done.stdout, done.stderr
        bundle = deployment.release_text(source.read_text())
        new_policy = believe(read_bundle(bundle), (deployment.root_hex,)).policy
        deployment.wait_until(lambda: '"policies": 2' in log.read_text(), "the new policy is loaded")

        later = now + 2 * DAY
        ReplayClock.write(clock, later * 1000)
        overlapping = make(deployment, "two", new_policy, later), make(deployment, "three", old_policy, later)
        assert [sealed_to(each) for each in overlapping] == [{"k2"}, {"test"}]
        for each in overlapping:
            publish(each)
        total = len(first) + sum(map(len, overlapping))
        deployment.wait_until(lambda: counted(deployment)[0] == total, "both keys open")
        refused = keys(deployment, "retire", "test")
        assert refused.returncode != 0
        assert "may arrive and count" in refused.stderr

        ReplayClock.write(clock, (now + 6 * DAY) * 1000)
        deployment.wait_until(lambda: keys(deployment, "retire", "test").returncode == 0, "the old key's time is over")
        gone = '"keys": 1, "event": "keys loaded"'
        deployment.wait_until(lambda: gone in log.read_text(), "it is let go")
        publish(first)
        unknown = RefusalReason.KEY_UNKNOWN.value
        deployment.wait_until(lambda: counted(deployment)[1].get(unknown) == len(first), "the old bytes stay closed")
    assert counted(deployment) == (total, {unknown: len(first)})
    assert aggregator.poll() is None
    assert log.read_text().count('"worker started"') == 1
    listed = json.loads(keys(deployment, "list", "--json").stdout)["keys"]
    assert {key["id"]: key["held"] for key in listed} == {"test": "no", "k2": "yes"}
