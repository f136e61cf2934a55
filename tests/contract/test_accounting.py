"""What a release costs, which cap refuses it, and the ledger's chain."""

import msgspec
import pytest

from discreet_contract.accounting import (
    CHAIN_START,
    DAY_SECONDS,
    NANO,
    BudgetRefusal,
    CapName,
    Caps,
    Debit,
    LedgerEntry,
    cap_to_nano,
    check_caps,
    to_nano,
)

WIDE = 1_000 * NANO
WINDOW = 28 * DAY_SECONDS


def caps(per_28_days=WIDE, per_365_days=WIDE, lifetime=WIDE):
    return Caps(per_28_days, per_365_days, lifetime)


def debit(day, nano=NANO):
    return Debit(day * DAY_SECONDS, nano)


@pytest.mark.parametrize(
    ("epsilon", "nano"),
    [(1.0, NANO), (1.0000000000000002, NANO + 1), (0.1, 100_000_000), (2.1, 2_100_000_000), (2.011, 2_011_000_000),
     (0.134, 134_000_000), (1.068, 1_068_000_000), (1e-10, 1), (0.0, 0)],
)  # fmt: skip
def test_a_loss_is_rounded_up_from_its_decimal(epsilon, nano):
    """Never smaller than the loss, and a decimal in a policy means exactly itself."""
    assert to_nano(epsilon) == nano


def test_every_decimal_of_three_digits_costs_exactly_itself():
    """No ε is charged a billionth more than its cap allows."""
    assert all(to_nano(n / 1000) == cap_to_nano(n / 1000) == n * 1_000_000 for n in range(1, 16_001))


def test_a_cap_may_be_reached_but_not_passed():
    """Four releases of ε = 1 in 28 days under a cap of 4; the fifth is refused."""
    debits = [debit(day) for day in (0, 7, 14)]

    assert check_caps(debits, caps(per_28_days=4 * NANO), debit(21)) is None
    assert check_caps([*debits, debit(21)], caps(per_28_days=4 * NANO), debit(27)) == BudgetRefusal(
        CapName.PER_28_DAYS, NANO, 4 * NANO, 0, 28 * DAY_SECONDS
    )


def test_a_span_is_half_open():
    """The window that starts 28 days after another one shares no span with it."""
    assert check_caps([debit(0)], caps(per_28_days=NANO), debit(28)) is None
    assert check_caps([debit(0)], caps(per_28_days=NANO), debit(27)) is not None
    assert check_caps([debit(28)], caps(per_28_days=NANO), debit(0)) is None
    assert check_caps([debit(28)], caps(per_28_days=NANO), debit(1)) is not None


def test_a_window_backfilled_between_two_charged_ones_meets_both():
    """Days 0 and 27 alone fit a cap of 2; a late report for day 13 would make three in one span."""
    charged = [debit(0), debit(27)]

    refusal = check_caps(charged, caps(per_28_days=2 * NANO), debit(13))

    assert refusal == BudgetRefusal(CapName.PER_28_DAYS, NANO, 2 * NANO, 0, 28 * DAY_SECONDS)


def test_a_window_backfilled_between_two_distant_ones_is_judged_by_the_fuller_side():
    """Days 0 and 40 share no span, so day 20 meets one of them at a time."""
    charged = [debit(0), debit(40)]

    assert check_caps(charged, caps(per_28_days=2 * NANO), debit(20)) is None
    assert check_caps(charged, caps(per_28_days=NANO), debit(20)).spent == NANO


def test_a_year_is_365_days_whatever_the_calendar_says():
    """The rolling year refuses what the rolling month allows."""
    yearly = caps(per_28_days=NANO, per_365_days=12 * NANO)
    debits = [debit(28 * k) for k in range(12)]

    refusal = check_caps(debits, yearly, debit(28 * 12))

    assert refusal == BudgetRefusal(CapName.PER_365_DAYS, NANO, 12 * NANO, 0, 365 * DAY_SECONDS)
    assert check_caps(debits, yearly, debit(365)) is None


def test_a_lifetime_never_resets():
    """Waiting does not help, and the advice says so."""
    refusal = check_caps([debit(0, 3 * NANO)], caps(lifetime=3 * NANO), debit(100_000, 1))

    assert refusal == BudgetRefusal(CapName.LIFETIME, 1, 3 * NANO, 0, None)
    assert "never resets" in refusal.advice


def test_the_tightest_span_is_named_first():
    """Where several caps refuse, the one that resets soonest speaks."""
    assert check_caps([], caps(0, 0, 0), debit(0)).cap == CapName.PER_28_DAYS
    assert check_caps([], caps(per_365_days=0, lifetime=0), debit(0)).cap == CapName.PER_365_DAYS


def test_a_charge_above_the_cap_itself_never_fits():
    """No start can be named for it."""
    assert check_caps([], caps(per_28_days=NANO), debit(0, 2 * NANO)) == BudgetRefusal(
        CapName.PER_28_DAYS, 2 * NANO, 0, NANO, None
    )


def test_what_is_left_is_never_negative():
    """A cap that a new policy lowered below what was spent leaves nothing."""
    assert check_caps([debit(0, 5 * NANO)], caps(per_28_days=NANO), debit(1)).left == 0


def test_waiting_is_advised_where_it_helps():
    """P9: what to do."""
    assert "wait for the reset" in check_caps([debit(0)], caps(per_28_days=NANO), debit(1)).advice


@pytest.mark.parametrize("asked_day", [1, 13, 27])
def test_the_reset_is_the_first_day_that_fits(asked_day):
    """Every earlier start is refused, that one is not."""
    debits = [debit(0), debit(3), debit(20), debit(45)]
    tight = caps(per_28_days=2 * NANO)

    refusal = check_caps(debits, tight, debit(asked_day))

    assert refusal is not None
    days = range(asked_day + 1, 200)
    first = next(day for day in days if check_caps(debits, tight, debit(day)) is None)
    assert refusal.resets_at == first * DAY_SECONDS


def chain(length):
    rows = []
    for number in range(1, length + 1):
        rows.append(
            LedgerEntry(
                sequence=number,
                metric="minutes",
                window_start=number * WINDOW,
                window_seconds=WINDOW,
                nano=NANO,
                mechanism="rr-1",
                policy_hash=b"p" * 32,
                charged_at_ms=number * WINDOW * 1000,
                previous=rows[-1].digest() if rows else CHAIN_START,
            )
        )
    return rows


def broken_at(rows):
    """Index of the first row that does not follow the one before it."""
    return next((i for i, row in enumerate(rows) if not row.follows(rows[i - 1] if i else None)), None)


def test_an_honest_ledger_is_a_chain():
    """Each row follows the row before."""
    assert broken_at(chain(6)) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("sequence", 9), ("metric", "seconds"), ("window_start", 1), ("window_seconds", 60), ("nano", NANO - 1),
     ("mechanism", "krr-1"), ("policy_hash", b"q" * 32), ("charged_at_ms", 0), ("previous", b"x" * 32)],
)  # fmt: skip
def test_an_altered_row_breaks_the_chain(field, value):
    """Whatever field it is; for the last row the head kept outside the database tells."""
    honest = chain(6)
    rows = list(honest)
    rows[2] = msgspec.structs.replace(rows[2], **{field: value})

    assert broken_at(rows) in {2, 3}
    assert msgspec.structs.replace(honest[-1], **{field: value}).digest() != honest[-1].digest()


@pytest.mark.parametrize("dropped", range(5))
def test_a_dropped_row_breaks_the_chain(dropped):
    """The one after it has no predecessor."""
    rows = chain(6)
    del rows[dropped]

    assert broken_at(rows) == dropped


@pytest.mark.parametrize("first", range(5))
def test_reordered_rows_break_the_chain(first):
    """Two neighbours swapped."""
    rows = chain(6)
    rows[first], rows[first + 1] = rows[first + 1], rows[first]

    assert broken_at(rows) == first


def test_a_repeated_row_breaks_the_chain():
    """A row follows its predecessor, not itself."""
    rows = chain(3)

    assert broken_at([rows[0], rows[0], rows[1]]) == 1


def test_a_ledger_row_survives_its_bytes():
    """What is stored is what was hashed."""
    row = chain(2)[1]

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=LedgerEntry) == row


def test_the_refusal_names_the_cap_that_resets_last():
    """Waiting for an earlier one would not help."""
    caps = Caps(per_28_days=NANO, per_365_days=NANO, lifetime=NANO)
    refusal = check_caps([Debit(0, NANO)], caps, Debit(60, NANO))
    assert (refusal.cap, refusal.resets_at) == (CapName.LIFETIME, None)
    assert "never resets" in refusal.advice

    caps = Caps(per_28_days=NANO, per_365_days=NANO, lifetime=9 * NANO)
    refusal = check_caps([Debit(0, NANO)], caps, Debit(60, NANO))
    assert (refusal.cap, refusal.resets_at) == (CapName.PER_365_DAYS, 365 * DAY_SECONDS)
