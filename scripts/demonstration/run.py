"""The demonstration: one agent on this host, a fleet of 4,043 aircraft, one broker, real aggregators, one table.

Everything it makes (keys, signed policies, databases, logs) lies in .state/demo of this
checkout and is made anew by each run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flights as nyc
from processes import Processes, accepts, discreet, discreet_json, free_port
from table import Row, render

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".state" / "demo"
DOWNLOADS = ROOT / ".state" / "downloads"
PLACEHOLDER_KEY = "0000000000000000000000000000000000000000000000000000000000000009"


@dataclass(frozen=True, slots=True)
class Side:
    """One fleet's folder: signed policy, aggregator configuration, pinned root."""

    name: str
    folder: Path
    root: str
    port: int

    @property
    def policy(self) -> Path:
        """What is delivered to devices."""
        return self.folder / "policy.json"

    @property
    def aggregator(self) -> str:
        """The aggregator's configuration file."""
        return str(self.folder / "aggregator.toml")

    @property
    def clock(self) -> Path:
        """The replay clock's file."""
        return self.folder / "clock"


def main() -> None:
    """Run it all; exits 1 on a loss or on an estimate that chance does not explain."""
    arguments = _arguments()
    began = time.monotonic()
    shutil.rmtree(STATE, ignore_errors=True)
    (STATE / "keys").mkdir(parents=True, mode=0o700)
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    with Processes(STATE / "logs") as processes:
        port = arguments.port or free_port()
        _say(began, f"broker (embedded, memory only) on 127.0.0.1:{port}")
        processes.start("broker", "aggregator", "dev-broker", "--port", str(port))
        processes.wait_for("the broker's start", lambda: accepts(port), seconds=20)
        root = discreet("policy", "keys", "new", str(STATE / "keys" / "root.key")).strip()
        hosts, fleet = _side("host", "hosts", root, port), _side("flights", "flights", root, port)
        agent = _start_host(processes, hosts, began)
        totals, rows = _replay(processes, fleet, arguments.windows, began)
        one_host = _await_host(processes, hosts, agent, began)
        is_good = _report(rows, totals, one_host)
        _say(began, "done")
        if arguments.serve:
            _serve(processes, hosts, fleet, agent)
    sys.exit(0 if is_good else 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="leave broker, agent and aggregators running afterwards")
    parser.add_argument("--windows", type=int, default=1, help="28-day windows to replay (default 1, at most 12)")
    parser.add_argument("--port", type=int, default=0, help="the broker's port (default: a free one)")
    arguments = parser.parse_args()
    if not 1 <= arguments.windows <= 12:
        parser.error("--windows is between 1 and 12: the data cover one year")
    return arguments


def _say(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)


def _side(example: str, name: str, root: str, port: int) -> Side:
    """Make a fleet's keys, sign a working copy of its example policy, write its aggregator's configuration."""
    side = Side(name, STATE / name, root, port)
    side.folder.mkdir(parents=True)
    replay = f'replay_clock = "{side.clock}"\n' if name == "flights" else ""
    Path(side.aggregator).write_text(
        f'fleet = "{name}"\nstate_dir = "aggregator"\npolicies = ["releases"]\nroots = ["{root}"]\n'
        f'keys_dir = "keys"\n{replay}\n[broker]\nurl = "mqtt://127.0.0.1:{port}"\n',
        encoding="utf-8",
    )
    side.clock.write_text(str(nyc.FIRST_WINDOW * 1000), encoding="ascii")
    public = discreet_json("aggregator", "keys", "new", "demo", "--config", side.aggregator)["public_key"]
    text = (ROOT / "policies" / "examples" / f"{example}.yaml").read_text(encoding="utf-8")
    working = side.folder / f"{example}.yaml"
    working.write_text(text.replace(PLACEHOLDER_KEY, public), encoding="utf-8")
    log = str(side.folder / "releases")
    discreet("policy", "release", str(working), "--log", log, "--key", str(STATE / "keys" / "root.key"))
    discreet("policy", "publish", "--log", log, "--output", str(side.policy))
    return side


def _start_host(processes: Processes, side: Side, began: float) -> str:
    """Input A: this host, its agent, its aggregator. Returns the agent's configuration file."""
    config = side.folder / "agent.toml"
    config.write_text(
        f'policy = "{side.policy}"\nroots = ["{side.root}"]\nstate_dir = "agent"\nsocket = "agent.sock"\n'
        f'resend_seconds = 5\n\n[broker]\nurl = "mqtt://127.0.0.1:{side.port}"\n',
        encoding="utf-8",
    )
    processes.start("hosts-aggregator", "aggregator", "run", "--config", side.aggregator)
    discreet("agent", "on", "--config", str(config))
    processes.start("agent", "agent", "run", "--config", str(config))
    processes.wait_for("the agent's start", (side.folder / "agent.sock").exists, seconds=20)
    sample = {
        "signal": "host.sampled",
        "version": "1-0-0",
        "time": time.time_ns() // 1_000_000,
        "fields": {"load_percent": 1.0, "memory_percent": 1.0, "memory_pressure": "low", "uptime": 1},
    }
    answer = discreet_json("agent", "emit", json.dumps(sample), "--config", str(config))
    _say(began, f"agent on this host, one-minute windows; one event by hand through its socket: ok {answer['ok']}")
    return str(config)


def _replay(processes: Processes, side: Side, windows: int, began: float) -> tuple[dict[str, int], list[Row]]:
    """Input B: the aircraft. Returns the counts of the whole way and the rows of the table."""
    processes.start("flights-aggregator", "aggregator", "run", "--config", side.aggregator)
    flights = nyc.read(nyc.fetch(DOWNLOADS))
    events = nyc.write_events(flights, side.folder / "events.jsonl", windows)
    _say(began, f"{flights.rows:,} departures of 2013 read; skipped: {flights.without_aircraft:,} without an aircraft,")
    _say(began, f"  {flights.without_departure:,} that never left; {events:,} lie in the {windows} replayed window(s)")
    plan = {
        "policy": str(side.policy),
        "roots": [side.root],
        "broker": {"url": f"mqtt://127.0.0.1:{side.port}"},
        "events": str(side.folder / "events.jsonl"),
        "state_dir": str(side.folder / "devices"),
        "clock": str(side.clock),
        "first_window": nyc.FIRST_WINDOW,
        "windows": windows,
    }
    plan_file = side.folder / "replay.json"
    plan_file.write_text(json.dumps(plan), encoding="utf-8")
    _say(
        began,
        f"{len(flights.by_aircraft):,} aircraft, each a device with its own store, ledger and randomness, replay …",
    )
    totals: dict[str, int] = json.loads(discreet("agent", "replay", str(plan_file)))
    processes.check()
    results = discreet_json("aggregator", "metrics", "--config", side.aggregator)["metrics"]
    refusals = discreet_json("aggregator", "refusals", "--config", side.aggregator)["refusals"]
    totals["duplicates_refused"] = sum(r["count"] for r in refusals if r["reason"] == "DUPLICATE")
    totals["refused_for_other_reasons"] = sum(r["count"] for r in refusals if r["reason"] != "DUPLICATE")
    totals["reports_counted"] = _reports_counted(results)
    totals["events_expected"] = events
    _say(began, f"{totals['reports_made']:,} reports sent, {totals['reports_counted']:,} counted")
    return totals, _rows(flights, results)


def _reports_counted(results: list[dict[str, Any]]) -> int:
    """Each (metric, window) has one number of devices, whatever its labels."""
    return sum({(r["metric"], r["window_start"]): r["devices"] for r in results}.values())


def _rows(flights: nyc.Flights, results: list[dict[str, Any]]) -> list[Row]:
    starts = {r["window_start"] for r in results}
    truths = {start: nyc.true_values(flights, _seconds(start)) for start in starts}
    return [Row(r, truths[r["window_start"]].get((r["metric"], r["label"]), 0.0)) for r in results]


def _seconds(iso: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(iso).timestamp())


def _await_host(processes: Processes, side: Side, agent: str, began: float) -> dict[str, Any]:
    """Wait for this host's first whole minute to be reported and received."""
    _say(began, "waiting for this host's first whole minute to close …")

    def settled() -> dict[str, Any] | None:
        status: dict[str, Any] = discreet_json("agent", "status", "--config", agent)
        return status if sum(status["counters"].get("reports_settled", {}).values()) >= 2 else None

    status = processes.wait_for("this host's first report", settled, seconds=150)
    return {
        "status": status,
        "sent": discreet("agent", "sent", "--config", agent),
        "ledger": discreet("agent", "ledger", "--config", agent),
        "metrics": discreet("aggregator", "metrics", "--config", side.aggregator),
    }


def _report(rows: list[Row], totals: dict[str, int], one_host: dict[str, Any]) -> bool:
    print("\nThis host, as its owner sees it (discreet agent sent, discreet agent ledger):\n")
    print(one_host["sent"])
    print(one_host["ledger"])
    print("and as its aggregator sees it:\n")
    print(one_host["metrics"])
    print("The fleet of aircraft, as its aggregator sees it, beside the truth that only a demonstration knows:\n")
    print(render(rows))
    held = sum(row.holds for row in rows)
    events_lost = totals["events_expected"] - totals["events_in"]
    reports_lost = totals["reports_made"] - totals["reports_counted"]
    print(f"\n{held} of {len(rows)} intervals hold the truth; about 19 in 20 should. Departures are counted up to")
    print(f"{nyc.MOST_DEPARTURES} for each aircraft, in the estimate and in the truth.\n")
    print(f"events in            {totals['events_in']:>9,}")
    print(f"reports out          {totals['reports_made']:>9,}   in {totals['publications']:,} publications")
    print(f"reports counted      {totals['reports_counted']:>9,}")
    print(f"duplicates refused   {totals['duplicates_refused']:>9,}")
    print(f"otherwise refused    {totals['refused_for_other_reasons']:>9,}")
    print(f"lost                 {events_lost + reports_lost:>9,}\n")
    far_off = [row for row in rows if row.is_far_off]
    for row in far_off:
        print(f"more than six standard errors off: {row.cells()}")
    return not far_off and events_lost == 0 and reports_lost == 0


def _serve(processes: Processes, hosts: Side, fleet: Side, agent: str) -> None:
    here = f"export PATH={ROOT / '.venv' / 'bin'}:$PATH"
    print(
        f"""
Left running until Ctrl-C. In another terminal:

  {here}
  discreet agent status --config {agent}
  discreet agent sent   --config {agent}
  discreet agent ledger --config {agent}
  discreet agent off    --config {agent}      # and on again
  discreet aggregator metrics  --config {hosts.aggregator}
  discreet aggregator metrics  --config {fleet.aggregator}
  discreet aggregator refusals --config {fleet.aggregator}

After twenty windows of one minute this host's budget is spent; the agent then refuses, and its status says why."""
    )
    try:
        while True:
            processes.check()
            time.sleep(1)
    except KeyboardInterrupt:
        print("stopping")


if __name__ == "__main__":
    main()
