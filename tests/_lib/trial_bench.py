"""Policies with any experiments, and where a device stands in them."""

import json

from discreet_contract.assignment import assignment_key, layer_position
from personal_bench import personal_policy

PARTS = """
flags:
  autoplay: {{state: ENABLED, variants: {{"on": true, "off": false}}, defaultVariant: "off"}}
  rows: {{state: ENABLED, variants: {{"on": true, "off": false}}, defaultVariant: "off"}}
{flags}layers: {{playback: {{holdout: {holdout}, why: in tests}}, other: {{why: in tests}}, {layers}}}
cohorts: {{young: {{installed_from: 2023-11-01, why: in tests}}}}
experiments: {experiments}
kill: {{experiments: {killed}}}
metrics:
  plays: {{from: playback.stopped, per_device: any, type: binary, window: 1d, epsilon: 1.0, by: {by},
    owner: a@b.c, why: in tests}}
"""
FLAG = '{state: ENABLED, variants: {"on": true, "off": false}, defaultVariant: "off"}'
TRIAL = {
    "hypothesis": "In tests, something moves by half within a day of the beginning.",
    "layer": "playback",
    "algorithm": "blake2b-1",
    "arms": {"off": 50, "on": 50},
    "traffic": "50%",
    "flag": "autoplay",
    "start": "2023-11-01",
    "end": "2023-12-31",
    "primary": "plays",
}


def trial(**changes):
    """One experiment; it runs from before the tests' day until long after it."""
    return TRIAL | {"salt": "first-2023-x7qk"} | changes


def trial_policy(version=1, *, holdout="0%", killed=(), consent="managed", by="[experiments]", **experiments):
    """A signed policy with these experiments, and the layers and flags that they name."""
    layers = {item["layer"] for item in experiments.values()} - {"playback", "other"}
    flags = {item["flag"] for item in experiments.values()} - {"autoplay", "rows"}
    rest = PARTS.format(
        experiments=json.dumps(experiments),
        holdout=holdout,
        killed=json.dumps(killed),
        by=by,
        layers=", ".join(f"{name}: {{why: in tests}}" for name in sorted(layers)),
        flags="".join(f"  {name}: {FLAG}\n" for name in sorted(flags)),
    )
    return personal_policy(features={}, version=version, consent=consent, rest=rest)


def position(device, layer="playback"):
    """Where this device is in a layer."""
    return layer_position(assignment_key(device.pipeline.trials._device.secret), layer)


def standings(device):
    """Experiment → where the device stands."""
    return {said["name"]: said["standing"] for said in device.pipeline.trials.describe()}
