"""A device in another language, with other libraries, written from docs/wire-format.md alone."""

import json
import os
import secrets
import subprocess
import time
from pathlib import Path

import pytest

from deployment import MINUTE
from npm import installed_packages

HERE = Path(__file__).parent
DEVICES = 12


@pytest.fixture(scope="module")
def node():
    """Run the device and read its answer."""
    modules = installed_packages()

    def run(*arguments):
        done = subprocess.run(
            ["node", str(HERE / "device.mjs"), *arguments],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env=os.environ | {"INTEROP_MODULES": str(modules)},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def orders(deployment, window):
    """Twelve devices, each with two metrics; both libraries seal."""
    account = deployment.account("device")
    for number in range(DEVICES):
        common = {
            "bundle": str(deployment.folder / "policy.json"),
            "root": deployment.root_hex,
            "fleet": "crashers",
            "secret": secrets.token_hex(32),
            "window": window,
            "broker": account.url,
            "username": account.username,
            "password": "secret",
            "copies": 2,
            "sealer": ("libsodium", "tweetnacl")[number % 2],
        }
        yield common | {"metric": "opened", "value": number % 2 == 0}
        yield common | {"metric": "side", "value": ("left", "right", "none")[number % 3]}


def test_every_vector_that_a_device_needs(node):
    """Report, ids, tags, receipts, envelope, policy, bundle, beacon, resend and the odds of the simple mechanisms."""
    done = node("vectors", str(HERE.parent / "vectors"))
    assert len(done["checked"]) == 10
    assert done["odds"] >= 5


def test_its_reports_are_accepted_and_counted_once(deployment, node):
    """Over a real broker into the real aggregator; a second copy of the bytes gets the first one's verdict."""
    now = int(time.time())
    window = now - now % MINUTE - MINUTE
    deployment.start_aggregator()
    log = deployment.folder / "aggregator.log"
    deployment.wait_until(lambda: '"ready"' in log.read_text(), "the aggregator's subscription")
    done = node("send", json.dumps(list(orders(deployment, window))))
    assert [one["verdicts"] for one in done] == [[0, 0]] * (2 * DEVICES)
    assert {one["bytes"] for one in done} == {256}
    assert len({one["id"] for one in done}) == 2 * DEVICES
    with deployment.reader() as reader:
        assert reader.accepted() == {"opened": DEVICES, "side": DEVICES}
        refusals = {row.reason: row.count for row in reader.refusals()}
        cells = {one.cell.metric: one for one in reader.cells()}
    assert set(refusals) == {"DUPLICATE"}
    assert refusals["DUPLICATE"] >= 2 * DEVICES  # a slow answer lets a device send once more
    sent = [one["payload"] for one in done]
    opened, side = sent[0::2], sent[1::2]
    assert {one.cell.window_start for one in cells.values()} == {window}
    assert cells["opened"].sums == (DEVICES, opened.count("01"))
    assert cells["side"].sums == (DEVICES, *(side.count(f"{label:02x}") for label in range(4)))
