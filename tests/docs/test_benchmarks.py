"""Benchmarks are run by hand; what keeps them able to run is here."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from documents import ROOT
from needs import need
from postgres import find_binaries

INGEST = ROOT / "scripts" / "benchmarks" / "ingest.py"


@pytest.fixture
def folder():
    """Which PostgreSQL's own user may enter, too."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def bench(folder, *arguments):
    command = [sys.executable, str(INGEST), "--folder", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_ingest_runs(folder):
    """A small run of everything: rates, limits, a profile, a steady load. That there are figures is all they mean."""
    need(find_binaries(), "PostgreSQL cannot be run")
    done = bench(folder, "--quick", "--facts", str(folder / "facts.json"))
    if "tmpfs" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    for words in ("serial bound with PostgreSQL", "times one", "wait for the lock", "publish → receipt"):
        assert words in done.stdout
    assert json.loads((folder / "facts.json").read_text())


@pytest.mark.slow
def test_growth_runs_and_keeps_the_shapes_of_an_earlier_run(folder):
    """Each shape may be measured in its own quiet."""
    facts = folder / "facts.json"
    for store in ("SQLite", "SQLite, one B-tree"):
        done = bench(folder, "--grow", "4", "--step", "10000", "--stores", store, "--facts", str(facts))
        if "tmpfs" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
    shapes = [one["shape"] for one in json.loads(facts.read_text())]
    assert shapes == ["SQLite"] * 4 + ["SQLite, one B-tree"]
