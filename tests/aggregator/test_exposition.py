"""What Prometheus reads: counts under bounded labels, from the database that all workers share."""

import urllib.request

import pytest

from deployment import accepts, free_port
from discreet_aggregator.config import load_config
from discreet_aggregator.exposition import exposed
from discreet_aggregator.store.store import Store
from discreet_contract.errors import ConfigError


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@pytest.fixture
def where(where_served):
    """Both databases in slow runs, SQLite always."""
    return where_served


def configured(fleet, where, listen, more=""):
    path = fleet.write_config(1883, where)
    path.write_text(path.read_text() + f'[metrics]\nlisten = "{listen}"\n{more}')
    return load_config(path)


def test_a_scrape_shows_what_the_database_holds(fleet, where):
    """Accepted and refused by metric, the dedupe state, quarantine, watermark; on each of the two databases."""
    port = free_port()
    config = configured(fleet, where, f"127.0.0.1:{port}")
    with exposed(config, lambda: 2, lambda: 1):
        assert scrape(port)["discreet_database_readable"] == 0
        with Store(config.where) as store:
            pipeline = fleet.pipeline(store)
            good = [fleet.seal(fleet.report()) for _ in range(3)]
            bad = [
                fleet.seal(fleet.report(metric="planted-name")),
                fleet.seal(fleet.report(payload=b"\x07")),
                b"x" * 256,
            ]
            pipeline.process([*good, *bad, good[0]])
            read = scrape(port)
    assert read["discreet_database_readable"] == 1
    assert read["discreet_workers_alive"] == 2
    assert read["discreet_workers_connected"] == 1
    assert read['discreet_reports_accepted_total{metric="any_trip"}'] == 3
    assert read['discreet_envelopes_refused_total{metric="any_trip",reason="PAYLOAD_ILLEGAL"}'] == 1
    assert read['discreet_envelopes_refused_total{metric="-",reason="METRIC_UNKNOWN"}'] == 1
    assert read['discreet_envelopes_refused_total{metric="-",reason="MAGIC"}'] == 1
    assert read["discreet_known_report_ids"] == 5
    assert read["discreet_quarantine_rows"] == 3
    assert read["discreet_watermark_seconds"] == fleet.clock.now_ms() / 1000
    assert read["discreet_last_admission_seconds"] == fleet.clock.now_ms() / 1000
    assert not any("planted" in name for name in read)


def test_names_that_no_policy_knows_are_no_labels(fleet, where):
    """Sums of a metric whose policy was taken away are counted, and not named."""
    config = configured(fleet, where, f"127.0.0.1:{free_port()}")
    with Store(config.where) as store:
        fleet.pipeline(store).process([fleet.seal(fleet.report())])
    (fleet.folder / "policies" / "one.json").unlink()
    text = (fleet.folder / "one.yaml").read_text()
    fleet.release_text("other", text.replace("any_trip:", "another:").replace("version: 1\n", "version: 2\n", 1))
    with exposed(config, lambda: 1, lambda: 1):
        assert scrape(config.metrics.address[1])['discreet_reports_accepted_total{metric="-"}'] == 1


@pytest.mark.parametrize(("listen", "words"), [("[::]:9464", "not on this machine"), ("9464", "host:port")])
def test_it_listens_on_this_machine_unless_forced(fleet, listen, words):
    """There is no password in front of it."""
    with pytest.raises(ConfigError, match=words):
        configured(fleet, "", listen)
    forced = configured(fleet, "", "[::]:9464", "allow_network = true\n")
    assert forced.metrics.address == ("::", 9464)


def test_a_port_that_is_taken_is_said(fleet):
    """At the start, with the next step."""
    config = configured(fleet, "", f"127.0.0.1:{free_port()}")
    with (
        exposed(config, lambda: 1, lambda: 1),
        pytest.raises(ConfigError, match="cannot listen"),
        exposed(config, lambda: 1, lambda: 1),
    ):
        pass


@pytest.mark.parametrize("workers", [1, 2])
def test_a_running_aggregator_is_scraped(deployment, workers):
    """Whether they are alive, and whether they reach the broker, though nobody looked meanwhile."""
    port = free_port()
    path = deployment.folder / "aggregator.toml"
    path.write_text(f"workers = {workers}\n" + path.read_text() + f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    deployment.start_aggregator()
    deployment.wait_until(lambda: accepts(port), "it listens")
    deployment.wait_until(lambda: scrape(port)["discreet_workers_connected"] == workers, "all are connected")
    assert scrape(port)["discreet_workers_alive"] == scrape(port)["discreet_workers_configured"] == workers
    deployment.kill("broker")
    deployment.wait_until(lambda: scrape(port)["discreet_workers_connected"] == 0, "none is connected")
    assert scrape(port)["discreet_workers_alive"] == workers
    deployment.start_broker()
    deployment.wait_until(lambda: scrape(port)["discreet_workers_connected"] == workers, "all are connected again")
    assert deployment.stop("aggregator") == 0
