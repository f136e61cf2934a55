"""A fleet replayed by the real commands: policy released and published, broker and aggregator running, devices fed."""

import json
import subprocess
import time
from contextlib import contextmanager

from nacl.signing import SigningKey

from deployment import DISCREET, accepts, free_port
from discreet_aggregator.keys import new_key


def discreet(*arguments):
    """Run one command to its end; what it printed."""
    command = [DISCREET, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(log, *arguments):
    """A command that serves until it is ended."""
    with log.open("wb") as output, subprocess.Popen([DISCREET, *map(str, arguments)], stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


class Replay:
    """Keys, log, bundle, configuration and events in one folder; `run` replays them. One fleet, named everything."""

    def __init__(self, folder, policy_text):
        """`policy_text`: from the aggregator's public key to the policy."""
        self.path = folder
        key = SigningKey.generate()
        self.root = key.verify_key.encode().hex()
        (folder / "root.key").write_text(key.encode().hex())
        (folder / "policy.yaml").write_text(policy_text(new_key(folder / "keys", "k1")))
        log = folder / "releases"
        discreet("policy", "release", folder / "policy.yaml", "--log", log, "--key", folder / "root.key")
        discreet("policy", "publish", "--log", log, "--output", folder / "policy.json")

    def run(self, devices, first_window, **settings):
        """Replay devices, each as the plan's file has it; returns the totals and the metrics' rows."""
        path, port = self.path, free_port()
        (path / "events.jsonl").write_text("".join(json.dumps(device) + "\n" for device in devices))
        (path / "clock").write_text(str(first_window * 1000))
        (path / "aggregator.toml").write_text(
            f'fleet = "everything"\nstate_dir = "aggregator"\nkeys_dir = "keys"\npolicies = ["releases"]\n'
            f'roots = ["{self.root}"]\nreplay_clock = "clock"\n[broker]\nurl = "mqtt://127.0.0.1:{port}"\n'
        )
        plan = {
            "policy": str(path / "policy.json"),
            "roots": [self.root],
            "broker": {"url": f"mqtt://127.0.0.1:{port}"},
            "events": str(path / "events.jsonl"),
            "state_dir": str(path / "devices"),
            "clock": str(path / "clock"),
            "first_window": first_window,
            "workers": 1,
        }
        (path / "plan.json").write_text(json.dumps(plan | settings))
        with running(path / "broker.log", "aggregator", "dev-broker", "--port", str(port)):
            deadline = time.monotonic() + 20
            while not accepts(port):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            with running(path / "aggregator.log", "aggregator", "run", "--config", str(path / "aggregator.toml")):
                totals = json.loads(discreet("agent", "replay", path / "plan.json"))
        told = discreet("aggregator", "metrics", "--json", "--config", path / "aggregator.toml")
        return totals, json.loads(told)["metrics"]
