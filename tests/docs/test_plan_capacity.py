"""`scripts/plan-capacity` against cases worked out by hand, and its constants against the real messages."""

import json
import sys
from dataclasses import asdict, replace

import pytest

from documents import ROOT
from policies import MEDIA

sys.path.insert(0, str(ROOT / "scripts" / "capacity"))

from capacity import BEACON_BYTES, PUBLISH_BYTES, RECEIPT_BYTES, TOPIC_BYTES, Figures, Load, Prices, Series, plan
from plan_capacity import answer

from discreet_contract.beacon import make_beacon
from discreet_contract.wire import Receipt, encode_receipts, reports_topic, time_topic

DAY = 86_400
FIGURES = Figures(
    store="PostgreSQL",
    reports_per_second=1000.0,
    worker_cpu_us=200.0,
    broker_cpu_us=40.0,
    database_cpu_us=10.0,
    transaction_us=50.0,
    archive_bytes=60.0,
    dedupe_bytes=20.0,
    lookup_us_per_million=0.0,
    queue_bytes=400.0,
)


@pytest.fixture
def figures_file(tmp_path):
    """The figures above as the benchmark keeps them."""
    kept = asdict(FIGURES)
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({kept.pop("store"): kept}))
    return file


def load(**values):
    """A million devices, one report a day each, sent within 1,000 seconds."""
    settings = {
        "devices": 1_000_000,
        "series": (Series(DAY),),
        "spread_seconds": 1000,
        "grace_seconds": 10 * DAY,
        "receipt_buckets": 1,
        "online": 1.0,
    }
    return Load(**settings | values)


def test_rates_and_workers():
    """10⁶ reports in 1,000 s are 1,000/s: two workers at half of 1,000/s each; 50 ms of each second in the lock."""
    found = plan(load(), FIGURES, Prices())
    assert found.peak_per_second == 1000
    assert found.messages_per_second == pytest.approx(1_000_000 / 86_400)
    assert found.workers == 2
    assert found.writer_share == pytest.approx(0.05)
    assert found.works
    assert found.cores_peak == pytest.approx(0.25)
    assert found.cores_rented == 1
    assert found.shortest_spread_seconds == pytest.approx(100)  # 10⁶ × 50 µs, twice for the headroom


def test_what_one_database_cannot_take():
    """10⁶ reports in ten seconds need five seconds of the writer's time every second."""
    found = plan(load(spread_seconds=10), FIGURES, Prices())
    assert found.writer_share == pytest.approx(5)
    assert not found.works


def test_receipts_go_to_everybody_of_a_bucket():
    """With one bucket each of 10⁶ receipts a day reaches 10⁶ devices; with 4,096 and one in ten connected, 24."""
    everybody = plan(load(), FIGURES, Prices())
    assert everybody.receipts_bytes_per_day == pytest.approx(1e12 * 38)
    assert everybody.receipts_per_device_day == pytest.approx(1e6 * 38)
    few = plan(load(receipt_buckets=4096, online=0.1), FIGURES, Prices())
    assert few.receipts_bytes_per_day == pytest.approx(1e6 * 38 * 1e5 / 4096)
    assert few.connections == 100_000


def test_storage():
    """A year of a report a day is 365 × 10⁶ rows; ids of ten days' windows are known at a time; an hour's queue."""
    found = plan(load(series=(Series(DAY, sums_bytes=100.0),)), FIGURES, Prices())
    assert found.archive_bytes_per_year == pytest.approx(365e6 * 60)
    assert found.dedupe_bytes_peak == pytest.approx(10e6 * 20)
    assert found.sums_bytes_per_year == pytest.approx(36_500)
    assert found.queue_bytes == pytest.approx(1000 * 3600 * 400)


def test_known_ids_slow_a_worker_down():
    """Ten million known ids at 50 µs a million add 500 µs: 1,000/s become 667/s; the filters take 20 MB."""
    found = plan(load(), replace(FIGURES, lookup_us_per_million=50.0), Prices())
    assert found.worker_reports_per_second == pytest.approx(1000 / 1.5)
    assert found.workers == 3
    assert found.writer_share == pytest.approx(1000 * 550e-6)
    assert found.worker_memory_bytes == pytest.approx(20e6)


def test_two_cadences():
    """A daily and a 28-day metric: their windows end together every 28 days; each lives on with its own grace."""
    found = plan(load(series=(Series(DAY), Series(28 * DAY)), grace_seconds=35 * DAY), FIGURES, Prices())
    assert found.peak_per_second == 2000
    assert found.messages_per_second == pytest.approx(1e6 / DAY + 1e6 / (28 * DAY))
    assert found.dedupe_bytes_peak == pytest.approx((35 + 2) * 1e6 * 20)


def test_cost():
    """One core for a year, half a year's archive on average, what comes in; then what goes out, alone."""
    prices = Prices(core_hour=1.0, storage_gb_month=1.0, egress_gb=0.0, ingress_gb=2.0)
    found = plan(load(), FIGURES, prices)
    storage = 12 * (365e6 * 60 / 2 + 10e6 * 20) / 1e9
    coming_in = 2 * 365 * 1e6 * (256 + 8 + 30) / 1e9
    assert found.cost_per_year == pytest.approx(8760 + storage + coming_in)
    out = plan(load(), FIGURES, Prices(core_hour=0, storage_gb_month=0, egress_gb=1.0)).cost_per_year
    standing = 1e6 * (2880 * 2 + 288 * BEACON_BYTES)
    assert out == pytest.approx(365 * (1e12 * 38 + 1e6 * 4 + standing) / 1e9)


def test_constants_are_those_of_real_messages():
    """Receipts, the time beacon, and an MQTT 5 packet as it is written on the wire."""
    from nacl.public import PrivateKey

    thousand = encode_receipts(tuple(Receipt(bytes(16), 0, bytes(16)) for _ in range(1000)))
    assert len(thousand) / 1000 == pytest.approx(RECEIPT_BYTES, abs=0.5)
    beacon = make_beacon("living-room", 1_800_000_000_000, "2026q4", PrivateKey.generate())
    assert len(b"\x30\x75\x00\x1b" + time_topic("living-room").encode() + b"\x00" + beacon) == BEACON_BYTES
    topic = reports_topic("living-room").encode()
    packet = b"\x32\xa3\x02" + len(topic).to_bytes(2, "big") + topic + b"\x00\x01" + b"\x00" + bytes(256)
    assert len(topic) == TOPIC_BYTES
    assert len(packet) == PUBLISH_BYTES + len(topic) + 256


def test_a_policy_says_what_is_sent(figures_file):
    """The media example: four metrics of which two take turns, so three reports a device every 28 days."""
    arguments = ["--devices", "1e6", "--policy", str(MEDIA), "--figures", str(figures_file), "--json"]
    said = json.loads(answer(arguments))
    assert [one["window_seconds"] for one in said["load"]["series"]] == [28 * DAY] * 3
    assert {one["envelope_bytes"] for one in said["load"]["series"]} == {256}
    assert said["plan"]["reports_per_window"] == 3_000_000


def test_a_plan_that_cannot_work_says_so(figures_file):
    """Windows of a hundred million devices within an hour are too much for one writer; the least spread is named."""
    arguments = ["--devices", "100e6", "--figures", str(figures_file)]
    assert "One database cannot take this peak" in answer(arguments)
    assert "One database cannot take this peak" not in answer([*arguments, "--spread", "7d"])


def test_figures_that_are_missing_are_named(tmp_path):
    """A plan is not made from guesses."""
    file = tmp_path / "figures.json"
    file.write_text('{"PostgreSQL": {"worker_cpu_us": 1}}')
    with pytest.raises(SystemExit, match="archive_bytes"):
        answer(["--devices", "1e6", "--figures", str(file)])
