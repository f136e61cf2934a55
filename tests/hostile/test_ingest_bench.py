"""The benchmark of the server side runs: one that broke would be missed only when it is needed."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from documents import ROOT
from needs import need
from postgres import find_binaries

INGEST = ROOT / "scripts" / "benchmarks" / "ingest.py"


def test_the_ingest_bench_counts_every_report(tmp_path):
    """A small fleet through a real broker into a real aggregator: every report is counted, every limit has a rate."""
    need(shutil.which("mosquitto", path="/usr/local/bin:/usr/bin:/usr/sbin"), "Mosquitto is not installed")
    facts = tmp_path / "facts.json"
    command = [sys.executable, INGEST, "--quick", "--stores", "SQLite", "--workers", "1"]
    done = subprocess.run(
        [*command, "--folder", tmp_path, "--facts", facts], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(facts.read_text())
    [run] = said["drained"]
    assert 0 < run["reports"] <= said["reports"]
    assert {one["name"] for one in said["bare"]} == {"drain", "unseal", "receipts", "insert SQLite"}
    assert all(one["seconds"] > 0 for one in said["bare"])
    assert "of the serial bound" in done.stdout


@pytest.mark.slow
def test_the_whole_comparison_runs():
    """Both databases, one worker and two, under a profile and at a steady load."""
    need(find_binaries(), "PostgreSQL cannot be run")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's own user enters, too
        command = [sys.executable, INGEST, "--quick", "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    for words in (
        "serial bound with PostgreSQL",
        "2 workers on PostgreSQL",
        "wait for the lock, wall",
        "publish → receipt",
    ):
        assert words in done.stdout


def test_growth_is_measured_and_drawn(tmp_path):
    """A few thousand ids into each shape, in a run each: every copy is known for one, and each shape has its curves."""
    facts, picture = tmp_path / "facts.json", tmp_path / "ingest.svg"
    options = ["--grow", "4", "--step", "1000", "--facts", facts, "--picture", picture, "--folder", tmp_path]
    for shape in ("SQLite, one B-tree", "SQLite"):
        command = [sys.executable, INGEST, *options, "--stores", shape]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    said = json.loads(facts.read_text())
    assert [(one["shape"], one["reports"]) for one in said] == [
        *(("SQLite", reports) for reports in (1000, 2000, 3000, 4000)),
        ("SQLite, one B-tree", 1000),
    ]
    assert all(one["dedupe_bytes"] > 17 for one in said)
    assert picture.read_text().count("<polyline") == 6
