"""A ledger judged from its rows, policies and head: every flaw is found, an honest ledger has none."""

from dataclasses import replace

import msgspec
import pytest

from device_bench import HOUR, START, make_policy, make_signed
from discreet_contract.accounting import CHAIN_START, EMPTY_LEDGER, LedgerEntry, LedgerHead
from discreet_contract.errors import SignatureRefusedError
from discreet_contract.ledger_audit import Finding, Flaw, read_policies, verify_ledger

CAP = 8.5
ROTATE = tuple(
    (f"  {name}: {{from: door.opened, ", f"  {name}: {{from: door.opened, rotate: doors, ")
    for name in ("opened", "side")
)
POLICY = make_policy(cap=CAP)
KNOWN = {POLICY.digest: POLICY.policy}


def chained(rows):
    """The same rows as a chain."""
    entries, previous = [], CHAIN_START
    for number, row in enumerate(rows, start=1):
        entries.append(msgspec.structs.replace(row, sequence=number, previous=previous))
        previous = entries[-1].digest()
    return entries


def row(metric, window, policy=POLICY, **changes):
    """One honest charge."""
    plan, start = policy.plans[metric], START + window * HOUR
    fields = {
        "window_start": start,
        "window_seconds": HOUR,
        "nano": plan.mechanism.charge(),
        "mechanism": plan.mechanism.id,
        "policy_hash": policy.digest,
        "charged_at_ms": (start + HOUR + 60) * 1000,
    }
    return LedgerEntry(sequence=0, metric=metric, previous=b"", **(fields | changes))


HONEST = [row(metric, window) for window in (0, 1) for metric in ("opened", "openings", "side")]


def flaws(rows, known=KNOWN, head=None):
    return [(finding.sequence, finding.flaw) for finding in verify_ledger(rows, known, head)]


def test_an_honest_ledger_has_no_flaw():
    """Nor has an empty one; it may be ahead of its head."""
    entries = chained(HONEST)
    assert flaws(entries) == []
    assert flaws(entries, head=LedgerHead(6, entries[-1].digest())) == []
    assert flaws(entries, head=LedgerHead(4, entries[3].digest())) == []
    assert flaws(entries, head=EMPTY_LEDGER) == []
    assert flaws([], head=EMPTY_LEDGER) == []


FLAWED = {
    Flaw.TWICE: [*HONEST, row("side", 1)],
    Flaw.POLICY_UNKNOWN: [*HONEST, row("side", 2, policy_hash=bytes(32))],
    Flaw.METRIC_UNKNOWN: [*HONEST, msgspec.structs.replace(row("side", 2), metric="gone")],
    Flaw.WINDOW: [*HONEST, row("side", 2, window_seconds=2 * HOUR, charged_at_ms=(START + 9 * HOUR) * 1000)],
    Flaw.EARLY: [*HONEST, row("side", 2, charged_at_ms=(START + 3 * HOUR) * 1000 - 1)],
    Flaw.MECHANISM: [*HONEST, row("side", 2, mechanism="rr-1")],
    Flaw.CHARGE: [*HONEST, row("side", 2, nano=row("side", 2).nano - 1)],
    Flaw.CAP: [*HONEST, row("opened", 2), row("openings", 2), row("side", 2)],
}


@pytest.mark.parametrize(("flaw", "rows"), FLAWED.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_flaw_is_found_in_its_row(flaw, rows):
    """Even where the chain was made anew to hide it."""
    assert flaws(chained(rows)) == [(len(rows), flaw)]


def test_a_window_off_the_grid_is_found():
    """A shifted window would be one more of them."""
    shifted = row("side", 2, window_start=START + 2 * HOUR + 1, charged_at_ms=(START + 9 * HOUR) * 1000)
    assert flaws(chained([*HONEST, shifted])) == [(7, Flaw.WINDOW)]


def test_two_members_of_a_group_in_one_window_are_found():
    """They take turns."""
    policy = make_policy(cap=CAP, edits=ROTATE)
    rows = [row("opened", 0, policy), row("openings", 0, policy), row("side", 1, policy), row("opened", 1, policy)]
    assert flaws(chained(rows), {policy.digest: policy.policy}) == [(4, Flaw.TURN)]


def test_a_charge_for_a_metric_that_its_policy_stops_is_found():
    """A killed metric makes no report, so an honest device books none."""
    policy = make_policy(cap=CAP, edits=(("metrics:\n", "kill: {metrics: [side]}\nmetrics:\n"),))
    rows = [row("opened", 0, policy), row("side", 0, policy)]
    assert flaws(chained(rows), {policy.digest: policy.policy}) == [(2, Flaw.METRIC_UNKNOWN)]


def test_every_cap_over_every_span_is_worked_out_under_the_policy_of_its_day():
    """A backfilled window between two full ones; a lower cap later on."""
    assert flaws(chained([*HONEST[3:], row("opened", 27 * 24), *HONEST[:3], row("side", 28 * 24)])) == []
    tight = make_policy(cap=3.0, version=2)
    known = KNOWN | {tight.digest: tight.policy}
    assert flaws(chained([*HONEST, row("side", 2, tight)]), known) == [(7, Flaw.CAP)]
    assert flaws(chained([*HONEST, row("side", 30 * 24, tight)]), known) == []


@pytest.mark.parametrize("number", range(6))
def test_a_changed_or_removed_row_breaks_the_chain(number):
    """At the row after it; the last one is the head's to guard."""
    entries = chained(HONEST)
    head = LedgerHead(6, entries[-1].digest())
    changed = [*entries]
    changed[number] = msgspec.structs.replace(changed[number], charged_at_ms=changed[number].charged_at_ms + 1)
    assert flaws(changed, head=head) == [(number + 2, Flaw.CHAIN) if number < 5 else (6, Flaw.HEAD)]
    removed = [*entries[:number], *entries[number + 1 :]]
    assert flaws(removed, head=head) == [(number + 2, Flaw.CHAIN) if number < 5 else (0, Flaw.HEAD)]


def test_findings_read_as_lines():
    """The row first."""
    assert str(Finding(3, Flaw.CHARGE, "x")) == "row 3: CHARGE: x"
    assert str(Finding(0, Flaw.HEAD, "x")) == "HEAD: x"
    [found] = verify_ledger(chained(FLAWED[Flaw.CAP]), KNOWN)
    assert "8 spent, 0.5 left under per_28_days" in str(found)


def test_policies_are_known_by_what_they_say():
    """From a signed policy; anything else is refused."""
    assert set(read_policies([make_signed(cap=CAP)])) == {POLICY.digest}
    assert replace(POLICY, signed_by="").digest == POLICY.digest
    with pytest.raises(SignatureRefusedError):
        read_policies([b"{}"])
