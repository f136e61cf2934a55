"""A real agent under 500 events a second, as much forgotten as comes in: nothing grows."""

import json
import subprocess
import sys

import pytest

from documents import ROOT

SOAK = ROOT / "scripts" / "benchmarks" / "soak.py"


def soak(tmp_path, seconds):
    facts, picture = tmp_path / "facts.json", tmp_path / "soak.svg"
    command = [sys.executable, SOAK, str(seconds), "--facts", facts, "--picture", picture]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(facts.read_text()), picture.read_text()


@pytest.mark.slow
def test_memory_disk_and_descriptors_stay_where_they_are(tmp_path):
    """After warming up: medians of the last third against the first. The hour, by hand: `scripts/bench soak`.

    Files breathe with the write-ahead log and with what is due to be forgotten. A store that forgot nothing would
    grow by some 500 events/s × 40 bytes × 120 s = 2.4 MB between the two thirds, five times the bound.
    """
    facts, _ = soak(tmp_path, 200)
    drift = facts["drift"]
    assert drift["acknowledged_per_second"] > 450
    assert abs(drift["rss_mb"]) < 2
    assert drift["disk_mb"] < 0.5
    assert abs(drift["descriptors"]) <= 1


def test_the_soak_measures_and_draws(tmp_path):
    """A few seconds of it: samples once a second, a picture of four curves."""
    facts, picture = soak(tmp_path, 3.5)
    assert 2 <= len(facts["samples"]) <= 4
    assert facts["samples"][-1]["acknowledged"] >= 1000
    assert picture.count("<polyline") == 4
