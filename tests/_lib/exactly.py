"""What many devices charged, held against what an aggregator has: every report once, with the device's own value.

Two readings, each a plain value, and one function that says what differs; so a test can spoil a copy
of either and see it found.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.identity import read_identity
from discreet_contract.wire import make_report_id

if TYPE_CHECKING:
    from pathlib import Path

    from discreet_aggregator.store.reader import Reader
    from discreet_contract.policy.release import VerifiedPolicy

ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Charged:
    """One row of a device's ledger, and what the device says became of it."""

    device: str
    report_id: bytes  # made anew from the device's secret, not read from its outbox
    metric: str
    window_start: int
    nano: int
    payload: bytes  # empty where the device knows of no report
    verdict: int | None  # None without a receipt
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class Archived:
    """One admitted report."""

    report_id: bytes
    metric: str
    window_start: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Counted:
    """All that an aggregator holds."""

    archived: tuple[Archived, ...]
    sums: dict[tuple[str, int], tuple[int, ...]]
    seen_ids: int


def read_charges(state_dir: Path, fleet: str) -> list[Charged]:
    """A device's ledger with its outbox and its history, read beside the device or after it."""
    identity = read_identity(state_dir)
    assert identity is not None, state_dir
    with closing(sqlite3.connect(f"file:{state_dir / 'agent.db'}?mode=ro", uri=True, timeout=10)) as connection:
        reports = {
            report_id: (payload, verdict, bool(is_waiting))
            for report_id, payload, verdict, is_waiting in connection.execute(
                "SELECT report_id, payload, NULL, 1 FROM outbox "
                "UNION ALL SELECT report_id, payload, verdict, 0 FROM sent"
            )
        }
        rows = connection.execute("SELECT metric, window_start, nano FROM ledger ORDER BY sequence").fetchall()
    charges = []
    for metric, window_start, nano in rows:
        report_id = make_report_id(identity.secret, fleet, metric, window_start)
        known = reports.pop(report_id, (b"", None, False))
        charges.append(Charged(state_dir.parent.name, report_id, metric, window_start, nano, *known))
    assert not reports, f"{state_dir}: {len(reports)} reports that nobody paid for"
    return charges


def read_counted(reader: Reader) -> Counted:
    """An aggregator's archive, one report at a time, with its sums."""
    archived: list[Archived] = []
    for cell, _, payloads, ids in reader.archived():
        length = len(payloads) * ID_BYTES // len(ids)
        for number in range(len(ids) // ID_BYTES):
            report_id = ids[number * ID_BYTES :][:ID_BYTES]
            payload = payloads[number * length :][:length]
            archived.append(Archived(report_id, cell.metric, cell.window_start, payload))
    sums = {(one.cell.metric, one.cell.window_start): one.sums for one in reader.cells()}
    return Counted(tuple(archived), sums, reader.seen_ids())


def differences(
    charges: list[Charged], counted: Counted, policy: VerifiedPolicy, cap_nano: int | None = None
) -> list[str]:
    """What is not exact, a sentence each; none where every charged report counts once and nothing else does."""
    return [
        *_of_devices(charges, cap_nano),
        *_of_archive({one.report_id: one for one in charges}, counted),
        *_of_sums(charges, counted, policy),
    ]


def _of_devices(charges: list[Charged], cap_nano: int | None) -> list[str]:
    found = []
    spent: dict[str, int] = {}
    seen: set[bytes] = set()
    for one in charges:
        spent[one.device] = spent.get(one.device, 0) + one.nano
        if one.report_id in seen:
            found.append(f"charged twice: {_named(one)}")
        seen.add(one.report_id)
        if one.is_waiting or one.verdict != 0:
            found.append(f"not settled: {_named(one)}, verdict {one.verdict}")
    if cap_nano is not None:
        found += [f"cap passed: {device} spent {nano}" for device, nano in spent.items() if nano > cap_nano]
    return found


def _of_archive(charged: dict[bytes, Charged], counted: Counted) -> list[str]:
    found = []
    archived: dict[bytes, Archived] = {}
    for report in counted.archived:
        paid = charged.get(report.report_id)
        if report.report_id in archived:
            found.append(f"counted twice: {report.metric} {report.window_start} {report.report_id.hex()}")
        archived[report.report_id] = report
        if paid is None:
            found.append(f"nobody's: {report.metric} {report.window_start} {report.report_id.hex()}")
        elif (report.metric, report.window_start, report.payload) != (paid.metric, paid.window_start, paid.payload):
            found.append(f"not what the device drew: {_named(paid)}")
    found += [f"lost: {_named(one)}" for report_id, one in charged.items() if report_id not in archived]
    if counted.seen_ids != len(charged):
        found.append(f"{counted.seen_ids} ids are remembered for {len(charged)} reports")
    return found


def _of_sums(charges: list[Charged], counted: Counted, policy: VerifiedPolicy) -> list[str]:
    """The sums made anew from what the devices drew."""
    drawn: dict[tuple[str, int], list[bytes]] = {}
    for one in charges:
        drawn.setdefault((one.metric, one.window_start), []).append(one.payload)
    found = [f"sums of nobody: {cell}" for cell in counted.sums.keys() - drawn.keys()]
    for cell, payloads in drawn.items():
        mechanism = policy.plans[cell[0]].mechanism
        wanted = tuple(int(number) for number in mechanism.accumulate([mechanism.decode(p) for p in payloads if p]))
        if counted.sums.get(cell) != wanted:
            found.append(f"sums of {cell}: {counted.sums.get(cell)} instead of {wanted}")
    return found


def _named(one: Charged) -> str:
    return f"{one.device}, {one.metric}, {one.window_start}"
