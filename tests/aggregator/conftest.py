"""A small fleet with a signed policy, real keys and a real database, for every test of the aggregator."""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from nacl.public import PublicKey

from discreet_aggregator.keys import load_keys, new_key
from discreet_aggregator.pipeline import Pipeline
from discreet_aggregator.policies import PolicyShelf, load_policies
from discreet_aggregator.store.database import find_database
from discreet_aggregator.store.store import Store
from discreet_contract.clock import ManualClock
from discreet_contract.envelope import OVERHEAD_BYTES, seal
from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import read_policy_text
from discreet_contract.policy.release import VerifiedPolicy, new_root_key, read_root_key, sign_policy
from discreet_contract.wire import Receipt, Report, decode_receipts, encode_report

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400
WINDOW = 28 * DAY

POLICY = """
discreet: 1
fleet: {fleet}
version: {version}
release: {{author: a@example.org, reason: tests, migration: none}}
consent: managed
budget: {{exhaustible: "tests of a few windows"}}
aggregator: {{keys: [{{id: k1, public_key: "{public}", from: 2020-01-01, until: 2030-01-01}}]}}
lateness: 2h
late_horizon: 35d
spread: 1h
receipt_buckets: {buckets}
signals:
  trip.ended:
    version: 1-0-0
    role: observation
    kind: outcome
    sensitivity: interaction
    why: tests
    owner: a@example.org
    expires: 2029-01-01
    retention: 35d
    fields:
      metres: {{type: number, min: 0, max: 100000, grid: 10, unit: m}}
      place: {{type: category, values: {places}}}
metrics:
  any_trip:
    {{from: trip.ended, per_device: any, type: binary, window: 28d, epsilon: 1.0, min_devices: 3, owner: o, why: w}}
  place:
    from: trip.ended
    per_device: {{most_frequent: place}}
    type: category
    window: 28d
    epsilon: 1.0
    owner: o
    why: w
  distance:
    from: trip.ended
    per_device: {{sum: metres}}
    type: mean
    mechanism: dlap-1
    bounds: [0, 2000]
    display: {{divide: 1000, unit: km}}
    window: 28d
    epsilon: 1.0
    min_devices: 3
    owner: o
    why: w
"""


@dataclass
class Fleet:
    """What a device and an operator of the test fleet would do."""

    folder: Path
    window_start: int = 700 * WINDOW
    roots: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.roots.append(new_root_key(self.folder / "root.key"))
        self.public = new_key(self.folder / "keys", "k1")
        self.release("one")
        self.clock = ManualClock((self.window_start + WINDOW + 3 * 3600) * 1000)

    @property
    def shelf(self) -> PolicyShelf:
        return load_policies([str(self.folder / "policies")], self.roots, "test-fleet")

    @property
    def policy(self) -> VerifiedPolicy:
        return next(iter(self.shelf.values()))

    def release(self, name: str, **values: Any) -> Path:
        settings = {"fleet": "test-fleet", "version": 1, "buckets": 16, "places": "[a, b, c]", "public": self.public}
        return self.release_text(name, POLICY.format(**settings | values))

    def release_text(self, name: str, text: str) -> Path:
        source = self.folder / f"{name}.yaml"
        source.write_text(text)
        (self.folder / "policies").mkdir(exist_ok=True)
        path = self.folder / "policies" / f"{name}.json"
        path.write_bytes(sign_policy(build_policy(read_policy_text(source)), [read_root_key(self.folder / "root.key")]))
        return path

    def report(self, **values: Any) -> Report:
        fields = {
            "wire_version": 1,
            "fleet": "test-fleet",
            "policy_hash": self.policy.wire_hash,
            "metric": "any_trip",
            "window_start": self.window_start,
            "mechanism": "rr-1",
            "payload": b"\x01",
            "dimensions": (),
            "report_id": secrets.token_bytes(16),
            "receipt_key": secrets.token_bytes(32),
        }
        return Report(**fields | values)

    def seal(self, report: Report) -> bytes:
        return self.seal_bytes(encode_report(report, overhead=OVERHEAD_BYTES))

    def seal_bytes(self, body: bytes, key_id: str = "k1") -> bytes:
        return seal(body, key_id, PublicKey(bytes.fromhex(self.public)))

    def pipeline(self, store: Store) -> Pipeline:
        return Pipeline(store, self.shelf, load_keys(self.folder / "keys"), self.clock, "test-fleet")

    def write_config(self, port: int, where: str = "", **extra: Any) -> Path:
        if where.startswith("postgresql"):
            extra["database"] = f'"{where}"'
        lines = [
            'fleet = "test-fleet"',
            'state_dir = "state"',
            'keys_dir = "keys"',
            'policies = ["policies"]',
            f'roots = ["{self.roots[0]}"]',
            *(f"{key} = {value}" for key, value in extra.items()),
            "[broker]",
            f'url = "mqtt://127.0.0.1:{port}"',
        ]
        path = self.folder / "aggregator.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    @staticmethod
    def receipts(messages: list[Any]) -> list[Receipt]:
        return [receipt for message in messages for receipt in decode_receipts(message.payload)]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


@pytest.fixture
def store(where: str):
    with Store(where, busy_seconds=0.1) as opened:
        yield opened


@pytest.fixture
def pipeline(fleet: Fleet, store: Store) -> Pipeline:
    return fleet.pipeline(store)


@pytest.fixture
def query(where: str):
    """Rows of the database as another process would see them."""

    def rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with closing(find_database(where).connect(read_only=True)) as connection:
            return connection.execute(sql, parameters)

    return rows
