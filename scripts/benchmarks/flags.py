"""Evaluations of flags a CPU second, in process: ours beside GrowthBook and flagd's own evaluator for Python.

Everything in one run, in turn, each contender in a process of its own; medians of RUNS. Prints Markdown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
RUNS = 7
SECONDS = 0.5
OURS = "discreet"
PEERS = {"flagd": "openfeature-flagd-core", "growthbook": "GrowthBook"}
TARGETS = {"static": 300_000, "targeting": None, "experiment": 60_000, "experiment, arm given": 60_000}
SHARES = {"static": (0.0, 0.0), "targeting": (0.2, 0.3), "experiment": (0.4, 0.6), "experiment, arm given": (0.5, 0.5)}


def main(peers: str) -> None:
    """Measure all, check that they answered alike, print the table."""
    measured: dict[str, dict[str, list[float]]] = {}
    for turn in range(RUNS):
        print(f"turn {turn + 1} of {RUNS}", file=sys.stderr)
        for name in (OURS, *PEERS):
            said = _run(sys.executable if name == OURS else peers, name)
            _check(name, said)
            for case, figures in said.items():
                measured.setdefault(case, {}).setdefault(name, []).append(figures["rate"])
    print(report({case: {name: median(rates) for name, rates in those.items()} for case, those in measured.items()}))


def report(rates: dict[str, dict[str, float]]) -> str:
    """Markdown: one row for each case."""
    heads = [title for name in PEERS for title in (PEERS[name], "ours / it")]
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    lines = [
        f"Evaluations a CPU second, medians of {RUNS} runs in turn; {os.cpu_count()} processors, {python}.",
        "",
        f"| flag | {OURS} | target | {' | '.join(heads)} |",
        f"|{' --- |' * (3 + len(heads))}",
    ]
    for case, by_name in rates.items():
        ours, target = by_name[OURS], TARGETS[case]
        cells = [
            case,
            f"**{ours:,.0f}**",
            "" if target is None else f"{target:,} {'met' if ours >= target else '**missed**'}",
        ]
        for name in PEERS:
            rate = by_name.get(name)
            cells += ["", ""] if rate is None else [f"{rate:,.0f}", f"{ours / rate:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _run(python: str, name: str) -> dict[str, Any]:
    command = [python, str(HERE / "flags_contenders.py"), name, str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def _check(name: str, said: dict[str, Any]) -> None:
    """Whoever answers otherwise did other work."""
    for case, figures in said.items():
        low, high = SHARES[case]
        if not low <= figures["share"] <= high:
            raise SystemExit(f"{name} said yes to {figures['share']:.1%} in {case!r}, not to {low:.0%} to {high:.0%}")


if __name__ == "__main__":
    main(sys.argv[1])
