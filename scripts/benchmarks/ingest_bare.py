"""The four limits an aggregator cannot pass, each alone and in a process of its own.

The same client library and batches as the aggregator's, and nothing else: taking messages and acknowledging them,
opening sealed boxes, inserting ids and rows without duplicates, publishing receipts. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import secrets
import select
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ingest_broker import publish_all
from ingest_fleet import FLEET, Fleet

from discreet_contract.broker import Broker, new_client
from discreet_contract.wire import Receipt, encode_receipts, receipt_bucket, receipts_topic, reports_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paho.mqtt.client import Client

BATCH = 500
_BUCKETS = 16
_SESSION_SECONDS = 3600


class Watch:
    """Runs from its making until `stop`."""

    def __init__(self) -> None:
        self.seconds, self.cpu_seconds = -time.monotonic(), -time.process_time()

    def stop(self) -> Watch:
        """What passed: time, and CPU time of this process."""
        self.seconds += time.monotonic()
        self.cpu_seconds += time.process_time()
        return self


def main() -> None:
    """Measure one limit and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("limit", choices=["drain", "unseal", "insert", "receipts"])
    parser.add_argument("--fleet", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--database", default="", help="a file, or a postgresql:// address")
    said = parser.parse_args()
    fleet = Fleet(said.fleet, json.loads((said.fleet / "fleet.json").read_text(encoding="utf-8"))["root"], said.count)
    measures: dict[str, Callable[[], Watch]] = {
        "drain": lambda: drain(fleet, said.port),
        "unseal": lambda: unseal(fleet),
        "insert": lambda: insert(fleet, said.database),
        "receipts": lambda: receipts(fleet, said.port),
    }
    watch = measures[said.limit]()
    print(json.dumps({"reports": fleet.count, "seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds}))


def drain(fleet: Fleet, port: int) -> Watch:
    """Take every waiting message at QoS 1 and acknowledge each batch in order."""
    topic = reports_topic(FLEET)
    _reserve(port, topic)
    publish_all(port, topic, list(fleet.envelopes()))
    client, taken = _client(port), 0
    pending: list[tuple[int, int]] = []
    client.on_message = lambda _c, _d, message: pending.append((message.mid, message.qos))
    _connect(client, port, clean=False)
    while not pending:
        _turn(client)
    watch = Watch()
    while taken < fleet.count:
        _read_arrived(client, pending)
        if len(pending) >= BATCH or taken + len(pending) >= fleet.count:
            for mid, qos in pending:
                client.ack(mid, qos)
            taken += len(pending)
            pending.clear()
    return watch.stop()


def unseal(fleet: Fleet) -> Watch:
    """`crypto_box_seal_open` of every envelope."""
    from nacl.bindings import crypto_box_seal_open

    from discreet_aggregator.keys import load_keys
    from discreet_contract.envelope import HEADER_BYTES

    [key] = load_keys(fleet.folder / "keys").values()
    public, private = key.public_key.encode(), key.encode()
    boxes = [envelope[HEADER_BYTES:] for envelope in fleet.envelopes()]
    watch = Watch()
    for box in boxes:
        crypto_box_seal_open(box, public, private)
    return watch.stop()


def insert(fleet: Fleet, database: str) -> Watch:
    """Ids into a table that takes none twice, the new ones' rows into another; one durable commit a batch."""
    if database.startswith("postgresql://"):
        return _insert_postgres(fleet, database)
    connection = sqlite3.connect(database, isolation_level=None)
    for statement in (
        "pragma journal_mode = wal",
        "pragma synchronous = full",
        "create table ids (id blob primary key) without rowid",
        "create table rows (id integer primary key, content blob not null)",
    ):
        connection.execute(statement)
    watch = Watch()
    for batch in _batches(fleet):
        connection.execute("begin immediate")
        marks = ",".join("?" * len(batch))
        query = f"select id from ids where id in ({marks})"  # noqa: S608 only marks
        known = {one for (one,) in connection.execute(query, [report_id for report_id, _ in batch])}
        new = [pair for pair in batch if pair[0] not in known]
        connection.executemany("insert into ids values (?)", ((report_id,) for report_id, _ in new))
        connection.executemany("insert into rows (content) values (?)", ((content,) for _, content in new))
        connection.execute("commit")
    watch.stop()
    connection.close()
    return watch


def _insert_postgres(fleet: Fleet, address: str) -> Watch:
    import psycopg

    with psycopg.connect(address) as connection:
        connection.execute("create table ids (id bytea primary key)")
        connection.execute("create table rows (id bigserial primary key, content bytea not null)")
        connection.commit()
        watch = Watch()
        for batch in _batches(fleet):
            connection.execute(
                "with arrived as (select * from unnest(%s::bytea[], %s::bytea[]) as a (id, content)), "
                "new as (insert into ids select id from arrived on conflict do nothing returning id) "
                "insert into rows (content) select content from arrived join new using (id)",
                ([report_id for report_id, _ in batch], [content for _, content in batch]),
            )
            connection.commit()
        return watch.stop()


def receipts(fleet: Fleet, port: int) -> Watch:
    """Publish ready-made receipts at QoS 0: one message a batch and bucket."""
    messages = []
    for batch in _batches(fleet):
        by_bucket: dict[str, list[Receipt]] = {}
        for report_id, _ in batch:
            by_bucket.setdefault(receipt_bucket(report_id, _BUCKETS), []).append(
                Receipt(report_id, 0, secrets.token_bytes(16))
            )
        messages.append([(receipts_topic(FLEET, name), encode_receipts(tuple(own))) for name, own in by_bucket.items()])
    client = _client(port)
    _connect(client, port, clean=True)
    watch = Watch()
    for batch_messages in messages:
        for topic, payload in batch_messages:
            client.publish(topic, payload, qos=0)
        while client.want_write():
            _turn(client)
    return watch.stop()


def _batches(fleet: Fleet) -> Iterator[list[tuple[bytes, bytes]]]:
    pairs = list(zip(fleet.report_ids(), fleet.envelopes(), strict=True))
    return (pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH))


def _client(port: int) -> Client:
    return new_client(Broker(f"mqtt://127.0.0.1:{port}"), "bench-bare")


def _connect(client: Client, port: int, *, clean: bool) -> None:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = _SESSION_SECONDS
    properties.ReceiveMaximum = 2 * BATCH
    client.connect("127.0.0.1", port, clean_start=clean, properties=properties)
    while not client.is_connected():
        _turn(client)


def _reserve(port: int, topic: str) -> None:
    """A session with a subscription that outlives its connection."""
    client = _client(port)
    granted: list[bool] = []
    client.on_subscribe = lambda *_: granted.append(True)
    _connect(client, port, clean=False)
    client.subscribe(topic, qos=1)
    while not granted:
        _turn(client)
    client.disconnect()


def _read_arrived(client: Client, pending: list[tuple[int, int]]) -> None:
    """All that is there, as `ingest.py` of the aggregator reads: quicker than the library's own loop."""
    line = client.socket()
    wanting = [line] if client.want_write() else []
    readable, writable, _ = select.select([line], wanting, [], 0.05)
    before = -1
    while readable and before < len(pending) < BATCH:
        before = len(pending)
        client.loop_read()
    if writable:
        client.loop_write()
    client.loop_misc()


def _turn(client: Client) -> None:
    code = client.loop(0.05)
    if code != 0:
        raise SystemExit(f"connection lost: {code.name}")


if __name__ == "__main__":
    main()
