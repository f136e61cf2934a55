"""P1: planted raw values are nowhere but in the device's own database."""

import json
import struct
import time
import zlib

from deployment import Listener
from discreet_agent.ask import ask
from discreet_agent.store.keys import KEYS, Bucket, KeyRing
from discreet_agent.store.keys import unseal as unseal_block
from discreet_contract.envelope import encode_key_id, unseal

NUMBER = 8317.0625
CATEGORY = "planted-side-zyx"
EVENT_ID = "planted-id-4711"
OUT_OF_BOUNDS = 991234.5678
UNKNOWN = "planted-unknown-category"
UNDECLARED = "planted-undeclared-field"

PLANTED = {
    "number as text": b"8317.0625",
    "number in steps": b"133073",
    "number, MessagePack": struct.pack(">d", NUMBER),
    "number, little-endian": struct.pack("<d", NUMBER),
    "category": CATEGORY.encode(),
    "category in hex": CATEGORY.encode().hex().encode(),
    "event id": EVENT_ID.encode(),
    "refused number": b"991234.5678",
    "refused number, MessagePack": struct.pack(">d", OUT_OF_BOUNDS),
    "unknown category": UNKNOWN.encode(),
    "undeclared field": UNDECLARED.encode(),
}


def found_in(content: bytes) -> set[str]:
    return {name for name, form in PLANTED.items() if form in content}


def test_planted_values_stay_on_the_device(deployment):
    """Not in a log, not in the aggregator's files, not on the wire, not inside the sealed reports."""
    windows = deployment.seed(windows=1)
    deployment.start_aggregator()
    with Listener(deployment.port, "#") as listener:
        deployment.start_agent()
        deployment.wait_until(deployment.socket.exists, "the agent listens")
        base = {"signal": "door.opened", "version": "1-0-0", "time": windows[0] * 1000 + 500}
        good = base | {"id": EVENT_ID, "fields": {"seconds": NUMBER, "side": CATEGORY, UNDECLARED: UNDECLARED}}
        for _ in range(5):
            ask(deployment.socket, json.dumps(good).encode())
        for fields in ({"seconds": OUT_OF_BOUNDS, "side": CATEGORY}, {"seconds": NUMBER, "side": UNKNOWN}):
            assert ask(deployment.socket, json.dumps(base | {"fields": fields}).encode())["ok"] == 0
        ask(deployment.socket, json.dumps(base | {"signal": UNKNOWN}).encode())
        ask(deployment.socket, f'{{"broken": "{CATEGORY}'.encode())
        deployment.wait_until(lambda: deployment.made() >= 3 and deployment.waiting() == 0, "reports are settled")
        status = deployment.discreet("agent", "status", "--json", "--config", deployment.agent_toml).stdout
        assert deployment.stop("agent") == 0
        assert deployment.stop("aggregator") == 0
        heard = list(listener.heard)

    plain = [unseal(payload, {encode_key_id("test"): deployment.key}) for topic, payload in heard if "reports" in topic]
    assert len(plain) >= 3
    assert any("receipts" in topic for topic, _ in heard)
    places = {
        "status": status.encode(),
        "wire": b"".join(topic.encode() + payload for topic, payload in heard),
        "reports": b"".join(plain),
        **{path.name: path.read_bytes() for path in deployment.folder.glob("*.log")},
        **{f"aggregator/{path.name}": path.read_bytes() for path in (deployment.folder / "aggregator").iterdir()},
    }
    assert {place: found_in(content) for place, content in places.items() if found_in(content)} == {}
    assert len(places) >= 7


def test_the_search_finds_what_is_there(deployment):
    """The same search over the device's own raw blocks, opened, finds what was accepted and nothing refused.

    Sealed as they lie in the database, it finds nothing.
    """
    deployment.start_agent()
    deployment.wait_until(deployment.socket.exists, "the agent listens")
    event = {"signal": "door.opened", "version": "1-0-0", "time": 0, "id": EVENT_ID}
    event |= {"time": time.time_ns() // 1_000_000, "fields": {"seconds": NUMBER, "side": CATEGORY}}
    assert ask(deployment.socket, json.dumps(event).encode()) == {"ok": 1}
    query = "SELECT signal, start, length, serial, body FROM raw_blocks JOIN raw_buckets ON raw_buckets.id = bucket"
    blocks = deployment.query("agent/agent.db", query)
    keys = KeyRing(deployment.folder / "agent" / KEYS)
    keys.open()

    opened = [unseal_block(keys.find(Bucket(*row)), Bucket(*row), body) for *row, body in blocks]
    assert found_in(b"".join(map(zlib.decompress, opened))) == {"number, MessagePack", "category", "event id"}
    assert found_in(b"".join(body for *_, body in blocks)) == set()
