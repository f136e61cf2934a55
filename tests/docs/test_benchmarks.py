"""Benchmarks are run by hand; what keeps them able to run is here."""

import json
import subprocess
import sys

import pytest

from documents import ROOT
from needs import need
from postgres import find_binaries

INGEST = ROOT / "scripts" / "benchmarks" / "ingest.py"


def bench(folder, *arguments):
    command = [sys.executable, str(INGEST), "--folder", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_ingest_runs(tmp_path):
    """A small run of everything: rates, limits, profile, a steady load. Its figures mean nothing, that they are there does."""
    need(find_binaries(), "PostgreSQL cannot be run")
    done = bench(tmp_path, "--quick", "--facts", str(tmp_path / "facts.json"))
    if "tmpfs" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    for words in ("serial bound with PostgreSQL", "times one", "wait for the lock", "publish → receipt"):
        assert words in done.stdout
    assert json.loads((tmp_path / "facts.json").read_text())


@pytest.mark.slow
def test_growth_runs_and_keeps_the_shapes_of_an_earlier_run(tmp_path):
    """Each shape may be measured in its own quiet."""
    facts = tmp_path / "facts.json"
    for store in ("SQLite", "SQLite, one B-tree"):
        done = bench(tmp_path, "--grow", "4", "--step", "10000", "--stores", store, "--facts", str(facts))
        if "tmpfs" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
    shapes = [one["shape"] for one in json.loads(facts.read_text())]
    assert shapes == ["SQLite"] * 4 + ["SQLite, one B-tree"]
