"""From a broker's queue to durable sums: the aggregator as processes beside Mosquitto, and the limits of its parts.

Everything in one run, in turn (each contender once, then all of them again, …), so that a drifting machine moves all;
medians of RUNS. Then, apart so that no rate is spoilt, one pass under a profile and one under a steady load. Prints
Markdown; `--facts` writes all that was measured, `--save` what `scripts/plan-capacity` and docs/ingest.md take.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from agent_process import file_system
from ingest_broker import BrokerError
from ingest_fleet import make_fleet
from ingest_grow import FORMER, Grown, grow, grow_former
from ingest_plot import draw
from ingest_runs import Case, Runs
from ingest_server import database, load_average
from ingest_tables import Bare, Drained, Measurement, figures, growth, growth_figures, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RUNS = 3
REPORTS = 200_000
STEADY_REPORTS = 10_000
STEADY_PER_SECOND = 500.0  # far from the most that a worker takes: what a receipt waits for is not a queue
QUICK_REPORTS = 2_000
STORES = ("SQLite", "PostgreSQL")
WORKERS = (1, 2)
SAVED = Path(__file__).resolve().with_name("ingest.json")


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    arguments.folder.mkdir(exist_ok=True)
    kind = file_system(arguments.folder)
    if kind in {"tmpfs", "ramfs"}:
        raise SystemExit(f"{arguments.folder} is a {kind}: nothing would be durable; name a folder on a disk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or a broker and gigabytes would stay behind
    folder = Path(tempfile.mkdtemp(prefix="ingest", dir=arguments.folder.resolve()))
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own where this one is root
    try:
        if arguments.grow:
            _grow(folder, arguments)
        else:
            _compare(folder, arguments, kind)
    except BrokerError as exc:
        raise SystemExit(str(exc)) from exc
    finally:
        shutil.rmtree(folder)


def _compare(folder: Path, arguments: argparse.Namespace, kind: str) -> None:
    with Runs(folder, make_fleet(folder / "fleet", arguments.reports)) as runs:
        measured = _measure(runs, arguments, {"processors": os.cpu_count(), "file_system": kind})
    if arguments.facts:
        arguments.facts.write_text(json.dumps(asdict(measured), indent=1) + "\n", encoding="utf-8")
    if arguments.save:
        save(figures(measured) | {"tables": {"compare": tables(measured)}})
    print(tables(measured))


def _grow(folder: Path, arguments: argparse.Namespace) -> None:
    """`--grow` millions of ids, into each store; into the former shape a quarter of it, which shows enough.

    With `--facts` the shapes of an earlier run stay beside those of this one: each can be measured in its own quiet.
    """
    fleet = make_fleet(folder / "fleet", QUICK_REPORTS)
    shapes = dict[str, list[Grown]]()
    if arguments.facts and arguments.facts.exists():
        for one in json.loads(arguments.facts.read_text(encoding="utf-8")):
            shapes.setdefault(one["shape"], []).append(Grown(**one))
    for shape in arguments.stores or (*STORES, FORMER):
        with database(folder, "SQLite" if shape == FORMER else shape) as where:
            if shape == FORMER:
                rows = grow_former(fleet, Path(where), max(1, arguments.grow // 4), arguments.step)
            else:
                rows = grow(fleet, where, shape, arguments.grow, arguments.step)
            shapes[shape] = list(_said(rows))
    grown = [one for shape in (*STORES, FORMER) for one in shapes.get(shape, ())]
    if arguments.facts:
        arguments.facts.write_text(json.dumps([asdict(one) for one in grown], indent=1) + "\n", encoding="utf-8")
    if arguments.picture:
        arguments.picture.write_text(draw(grown), encoding="utf-8")
    if arguments.save:
        save(growth_figures(grown) | {"tables": {"grow": growth(grown)}})
    print(growth(grown))


def _said(grown: Iterator[Grown]) -> Iterator[Grown]:
    for one in grown:
        print(f"{one.shape}: {one.reports:,} ids, {one.rate:,.0f} reports/s", file=sys.stderr)
        yield one


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".state"), help="on the disk to measure")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--reports", type=int, default=REPORTS)
    parser.add_argument("--stores", nargs="+", choices=(*STORES, FORMER), help=f"{FORMER!r} only with --grow")
    parser.add_argument("--workers", nargs="+", type=int, default=list(WORKERS))
    parser.add_argument("--quick", action="store_true", help="a smoke test of one small run; its figures mean nothing")
    parser.add_argument("--facts", type=Path, help="write every measurement as JSON")
    parser.add_argument("--save", action="store_true", help=f"keep tables and what plans are made from in {SAVED.name}")
    parser.add_argument("--grow", type=int, metavar="MILLIONS", help="instead: what do millions of ids change?")
    parser.add_argument("--step", type=int, default=1_000_000, help="a row of --grow each so many reports")
    parser.add_argument("--picture", type=Path, help="draw --grow as SVG")
    arguments = parser.parse_args()
    if not arguments.grow:
        arguments.stores = [store for store in arguments.stores or STORES if store != FORMER]
    arguments.steady = STEADY_REPORTS
    if arguments.quick:
        arguments.runs, arguments.reports, arguments.steady = 1, QUICK_REPORTS, QUICK_REPORTS // 4
    return arguments


def _measure(runs: Runs, arguments: argparse.Namespace, facts: dict[str, object]) -> Measurement:
    cases = [Case(store, workers) for store in arguments.stores for workers in arguments.workers]
    drained: list[Drained] = []
    bare: list[Bare] = []
    loads = [load_average()]
    for number in range(arguments.runs):
        bare += runs.bare(arguments.stores)
        drained += [runs.drain(case) for case in cases]
        loads.append(load_average())
        print(f"run {number + 1} of {arguments.runs} done", file=sys.stderr)
    profiled = [runs.profile(case) for case in cases]
    waited = [runs.wait(store, arguments.steady, STEADY_PER_SECOND) for store in arguments.stores]
    facts |= {"loads": loads, "runs": arguments.runs}
    return Measurement(arguments.reports, facts, drained, bare, profiled, waited)


def save(what: Mapping[str, Mapping[str, float | str]]) -> None:
    """Put figures and tables beside those that are kept already; what has the same name is replaced."""
    kept = json.loads(SAVED.read_text(encoding="utf-8")) if SAVED.exists() else {}
    for name, own in what.items():
        kept[name] = kept.get(name, {}) | dict(own)
    SAVED.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
