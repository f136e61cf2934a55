"""Reports that carry arm and platform: added up by cell, shown by cell, refused where their policy does not say so."""

from __future__ import annotations

import json

import pytest

from discreet_aggregator.metrics import read_metrics
from discreet_aggregator.refusal import RefusalReason
from discreet_aggregator.table import metrics_table

ON, OFF = ((("experiments.rows", arm),) for arm in ("on", "off"))
KIOSK = (("platform", "kiosk"),)
PARTS = """flags:
  rows: {state: ENABLED, variants: {"on": true, "off": false}, defaultVariant: "off"}
experiments:
  rows:
    hypothesis: In tests, rows make trips more frequent within the first four weeks.
    layer: rows
    algorithm: blake2b-1
    salt: rows-2023-x7qk
    arms: {"on": 50, "off": 50}
    traffic: 100%
    flag: rows
    start: 2023-08-31
    end: 2023-09-28
    primary: any_trip
metrics:
  any_trip:
    {by: [experiments, platform], """


@pytest.fixture
def trial(fleet):
    """The fleet under one policy, whose first metric carries arms and platforms."""
    (fleet.folder / "policies" / "one.json").unlink()
    text = (fleet.folder / "one.yaml").read_text()
    assert "metrics:\n  any_trip:\n    {" in text
    fleet.release_text("one", text.replace("metrics:\n  any_trip:\n    {", PARTS))
    return fleet


def process(fleet, store, *reports):
    """Each as (payload, dimensions)."""
    pipeline = fleet.pipeline(store)
    envelopes = [fleet.seal(fleet.report(payload=payload, dimensions=own)) for payload, own in reports]
    return pipeline.process(envelopes)


def test_each_cell_has_its_own_sum_and_its_own_least_number(trial, store, where):
    """Three devices of an arm are shown, two of the other are withheld, though together they would be enough."""
    reports = [(b"\x01", ON)] * 3 + [(b"\x00", OFF)] * 2 + [(b"\x01", ())] * 4 + [(b"\x01", ON + KIOSK)]
    process(trial, store, *reports)
    results = read_metrics(where, trial.shelf, trial.clock.now_ms()).results
    assert {result.cell.dimensions: result.devices for result in results if result.withheld is None} == {ON: 3, (): 4}
    assert {result.cell.dimensions for result in results if result.withheld is not None} == {OFF, ON + KIOSK}


def test_the_table_says_whose_devices_a_line_is_about(trial, store, where):
    """A column of its own, only where there is something to say."""
    process(trial, store, *[(b"\x01", ON + KIOSK)] * 3, *[(b"\x01", ())] * 3)
    results = read_metrics(where, trial.shelf, trial.clock.now_ms()).results
    head, *lines = metrics_table(results).splitlines()
    column = slice(head.index("devices of"), head.index("estimate"))
    assert sorted(line[column].strip() for line in lines) == ["-", "experiments.rows on, platform kiosk"]
    assert "devices of" not in metrics_table([one for one in results if not one.cell.dimensions])


@pytest.mark.parametrize(
    "dimensions", [(("experiments.rows", "loud"),), (("experiments.other", "on"),), KIOSK + ON, (("release", "1"),)]
)
def test_what_the_policy_does_not_give_is_refused(trial, store, query, dimensions):
    """Counted, and adds nothing."""
    process(trial, store, (b"\x01", dimensions))
    assert query("select reason, count from refusals") == [(RefusalReason.DIMENSIONS_ILLEGAL.value, 1)]
    assert query("select count(*) from sums") == [(0,)]


def test_dimensions_are_kept_as_they_came(trial, store, query):
    process(trial, store, (b"\x01", ON + KIOSK))
    [[kept]] = query("select dimensions from cells")
    assert json.loads(kept) == [["experiments.rows", "on"], ["platform", "kiosk"]]
