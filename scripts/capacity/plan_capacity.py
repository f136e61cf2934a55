"""`scripts/plan-capacity`: a fleet from the command line or a policy file, the measured figures, and a table."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity import Capacity, Figures, Load, Prices, Series, plan

from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan

MEASURED = Path(__file__).resolve().parents[1] / "benchmarks" / "ingest.json"
_SUMS_BYTES = 26_000  # of one window, where no policy says it: a category of 1,000 values


def main(arguments: Sequence[str] | None = None) -> None:
    """Plan and print."""
    print(answer(arguments))


def answer(arguments: Sequence[str] | None = None) -> str:
    """What the command prints for these arguments."""
    said = _parser().parse_args(arguments)
    load, figures = _load(said), read_figures(said.figures, said.store)
    prices = Prices(said.core_hour, said.storage_gb_month, said.egress_gb, said.ingress_gb)
    found = plan(load, figures, prices, headroom=said.headroom)
    if said.as_json:
        return json.dumps({"load": asdict(load), "figures": asdict(figures), "plan": asdict(found)}, indent=1)
    return table(load, figures, prices, found, said.headroom)


def read_figures(path: Path, store: str) -> Figures:
    """What `scripts/bench ingest --save` and `--grow --save` have kept for this store."""
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    wanted = {field.name for field in fields(Figures)} - {"store"}
    known = kept.get(store, {})
    if missing := sorted(name for name in wanted if known.get(name) is None):
        raise SystemExit(f"{path.name} has no {', '.join(missing)} for {store}: run `scripts/bench ingest --save`")
    return Figures(store=store, **{name: known[name] for name in wanted})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/plan-capacity", description=__doc__)
    parser.add_argument("--devices", type=float, required=True, help="for example 100e6")
    parser.add_argument("--policy", type=Path, help="take metrics, windows, spread and buckets from this policy file")
    parser.add_argument("--metrics", type=int, default=2, help="reports of a device in each window, without a policy")
    parser.add_argument("--window", default="28d", help="how often, without a policy")
    parser.add_argument("--spread", help="time over which a window's reports are sent (default: the policy's, or 1h)")
    parser.add_argument("--late-horizon", default=None, help="default: the policy's, or 35d")
    parser.add_argument("--receipt-buckets", type=int, help="default: the policy's, or 16")
    parser.add_argument("--cells", type=int, default=1, help="combinations of dimensions that a metric's reports carry")
    parser.add_argument("--online", type=float, default=1.0, help="share of the devices connected at any time")
    parser.add_argument("--outage", default="1h", help="of the aggregator, for the broker to bridge")
    parser.add_argument("--store", choices=["SQLite", "PostgreSQL"], default="PostgreSQL")
    parser.add_argument("--headroom", type=float, default=0.5, help="share of the measured rate to count on")
    for price, amount in asdict(Prices()).items():
        parser.add_argument(f"--{price.replace('_', '-')}", type=float, default=amount, help="price; an assumption")
    parser.add_argument("--figures", type=Path, default=MEASURED, help="measured figures")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print one JSON object")
    return parser


# --- what the fleet sends ---------------------------------------------------------------------------------------------


def _load(said: argparse.Namespace) -> Load:
    policy = None
    if said.policy is not None:
        policy = _read(said.policy)
    series = _series_of(policy, said.cells) if policy else _plain_series(said)
    spread = seconds(said.spread or (policy.spread if policy else "1h"))
    lateness = seconds(policy.lateness if policy else "2h")
    horizon = seconds(said.late_horizon or (policy.late_horizon if policy else "35d"))
    return Load(
        devices=said.devices,
        series=series,
        spread_seconds=spread,
        grace_seconds=lateness + spread + horizon,
        receipt_buckets=said.receipt_buckets or (policy.receipt_buckets if policy else 16),
        online=said.online,
        outage_seconds=seconds(said.outage),
    )


def _plain_series(said: argparse.Namespace) -> tuple[Series, ...]:
    one = Series(seconds(said.window), sums_bytes=float(_SUMS_BYTES * said.cells))
    return (one,) * said.metrics


def _read(path: Path) -> Policy:
    from discreet_contract.policy.compile import build_policy
    from discreet_contract.policy.read import read_policy_text

    return build_policy(read_policy_text(path))


def _series_of(policy: Policy, cells: int) -> tuple[Series, ...]:
    """One series a metric; of metrics that take turns a device reports one, and sums are kept for all."""
    from discreet_contract.policy.plan import plan_metrics

    turns: dict[str, list[MetricPlan]] = {}
    for name, metric_plan in plan_metrics(policy).items():
        group = metric_plan.metric.rotate
        turns.setdefault(f"rotate {group}" if group else name, []).append(metric_plan)
    return tuple(
        Series(
            window_seconds=plans[0].metric.window_seconds,
            envelope_bytes=max(policy.padding, *(_envelope_bytes(policy, one) for one in plans)),
            sums_bytes=float(sum(cells * _sums_bytes(one) for one in plans)),
        )
        for plans in turns.values()
    )


def _sums_bytes(one: MetricPlan) -> int:
    return int(one.mechanism.accumulate([]).nbytes)


def _envelope_bytes(policy: Policy, one: MetricPlan) -> int:
    """Length of this metric's envelope; public dimensions are taken to need 40 bytes each."""
    from discreet_contract import envelope, wire

    report = wire.Report(
        wire_version=wire.WIRE_VERSION,
        fleet=policy.fleet,
        policy_hash=bytes(wire.POLICY_HASH_BYTES),
        metric=one.name,
        window_start=2**32,
        mechanism=one.mechanism.id,
        payload=bytes(one.mechanism.payload_bytes),
        dimensions=tuple(("d" * 26, "v" * 10) for _ in one.metric.by),
        report_id=bytes(wire.REPORT_ID_BYTES),
        receipt_key=bytes(wire.RECEIPT_KEY_BYTES),
    )
    return len(wire.encode_report(report, overhead=envelope.OVERHEAD_BYTES)) + envelope.OVERHEAD_BYTES


# --- the table --------------------------------------------------------------------------------------------------------


def table(load: Load, figures: Figures, prices: Prices, found: Capacity, headroom: float) -> str:
    """Markdown."""
    reports = len(load.series)
    head = (
        f"{load.devices:,.0f} devices, {reports} report{'s' * (reports > 1)} each when windows end together, sent "
        f"within {_time(load.spread_seconds)}; {load.receipt_buckets:,} receipt buckets; {load.online:.0%} of the "
        f"devices connected at any time; {figures.store}; {headroom:.0%} of measured rates counted on."
    )
    lines = [
        head,
        "",
        "| what | figure |",
        "| --- | --- |",
        *(f"| {what} | {value} |" for what, value in _rows(load, figures, found)),
        f"| **a year's cost**, at {_prices(prices)} (assumptions) | **{found.cost_per_year:,.0f}** |",
    ]
    if not found.works:
        lines += [
            "",
            f"**One database cannot take this peak:** send within {_time(found.shortest_spread_seconds)} or more.",
        ]
    return "\n".join(lines)


def _rows(load: Load, figures: Figures, found: Capacity) -> Iterator[tuple[str, str]]:
    yield "reports when windows end together", f"{found.reports_per_window:,.0f}"
    yield "reports a second, mean of a year", f"{found.messages_per_second:,.1f}"
    yield "reports a second at the peak", f"{found.peak_per_second:,.0f}"
    yield "connections", f"{found.connections:,.0f}"
    yield "pings a second", f"{found.pings_per_second:,.0f}"
    yield "reports from devices, a day", _bytes(found.bytes_per_day_in)
    yield "receipts to devices, a day: to all connected ones of a bucket", _bytes(found.receipts_bytes_per_day)
    yield "the same, to one connected device", _bytes(found.receipts_per_device_day)
    yield "time and ping answers to devices, a day", _bytes(found.standing_bytes_per_day)
    measured, expected = figures.reports_per_second, found.worker_reports_per_second
    yield f"reports a second of one worker ({measured:,.0f} measured with few ids known)", f"{expected:,.0f}"
    yield "workers at the peak", f"{found.workers}"
    yield "memory of each for filters of known ids", _bytes(found.worker_memory_bytes)
    yield "share of the one writer's time at the peak", f"{found.writer_share:.1%}"
    yield "shortest spread that the writer keeps up with", _time(found.shortest_spread_seconds)
    outage = _time(load.outage_seconds)
    yield f"broker's queue after {outage} without an aggregator, at the peak", _bytes(found.queue_bytes)
    yield "archive, a year", _bytes(found.archive_bytes_per_year)
    yield "known ids, at most", _bytes(found.dedupe_bytes_peak)
    yield "sums, a year", _bytes(found.sums_bytes_per_year)
    yield "cores busy at the peak: workers, broker, database", f"{found.cores_peak:.2f}"
    yield "cores to rent", f"{found.cores_rented}"
    yield "core hours used in a year", f"{found.core_hours_used:,.0f}"


def _prices(prices: Prices) -> str:
    return (
        f"{prices.core_hour:g} a core hour, {prices.storage_gb_month:g} a GB and month, "
        f"{prices.egress_gb:g} a GB out and {prices.ingress_gb:g} in"
    )


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} TB"


def _time(number: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if number >= length:
            return f"{number / length:.3g} {unit}"
    return f"{number:.2g} s"


if __name__ == "__main__":
    main()
