"""Bytes and numbers that devices in the field already hold. A failing vector means a new version number is due."""

import json
from pathlib import Path

import msgspec
import pytest
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from discreet_contract.accounting import LedgerEntry
from discreet_contract.assignment import assignment_key, draw_arm, is_held_out, layer_position
from discreet_contract.beacon import read_beacon
from discreet_contract.envelope import HEADER_BYTES, MAGIC, encode_key_id, seal, unseal
from discreet_contract.mechanisms.catalogue import build
from discreet_contract.policy.bundle import read_bundle
from discreet_contract.policy.compile import build_policy, canonical_json, canonicalize, policy_hash
from discreet_contract.policy.merkle import consistency_proof, inclusion_proof, leaf_hash, tree_root
from discreet_contract.policy.model import AggregatorKey
from discreet_contract.policy.obey import Trust, judge
from discreet_contract.policy.plan import plan_metrics
from discreet_contract.policy.release import sign_policy, verify_policy
from discreet_contract.resend import Resend, read_resend
from discreet_contract.wire import (
    ENVELOPE_SIZES,
    Receipt,
    Report,
    decode_receipts,
    decode_report,
    encode_receipts,
    encode_report,
    make_report_id,
    receipt_bucket,
    receipt_tag,
    receipts_topic,
    reports_topic,
    resend_topic,
    time_topic,
)
from policies import parsed

FOLDER = Path(__file__).parent
HEX_FIELDS = {"policy_hash", "payload", "report_id", "receipt_key", "device_secret", "tag"}


MECHANISM_FIELDS = {
    *("truth", "lie", "scale", "reach", "payload_bytes"),
    *("field", "digits", "directions", "size", "buckets", "groups", "levels", "step", "odds_of_levels"),
}


def vector(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def from_hex(fields):
    """JSON has no bytes: fields that are bytes stand in hex."""
    return {name: bytes.fromhex(value) if name in HEX_FIELDS else value for name, value in fields.items()}


def test_every_vector_says_what_a_change_of_it_needs():
    """And every file is read by a test here."""
    names = {path.stem for path in FOLDER.glob("*.json")}

    assert names == {
        "report",
        "report_of_an_arm",
        "report_id",
        "receipt_tag",
        "receipts",
        "envelope",
        "ledger",
        "policy",
        "bundle",
        "mechanisms",
        "beacon",
        "resend",
        "peers",
        "assignment",
    }
    assert all("needs a new" in vector(name)["note"] or "need a new" in vector(name)["note"] for name in names)


@pytest.mark.parametrize("name", ["report", "report_of_an_arm"])
def test_report(name):
    """One report, byte for byte, and back."""
    given = vector(name)
    fields = from_hex(given["report"])
    report = Report(**fields | {"dimensions": tuple(map(tuple, fields["dimensions"]))})

    assert encode_report(report, overhead=given["overhead_bytes"]).hex() == given["encoded"]
    again = decode_report(bytes.fromhex(given["encoded"]))
    assert [getattr(again, name) for name in fields] == [getattr(report, name) for name in fields]


def test_report_id():
    """The keyed hash of (device secret; fleet, metric, window)."""
    for case in map(from_hex, vector("report_id")["cases"]):
        expected = case.pop("report_id")
        assert make_report_id(**case) == expected


def test_receipt_tag():
    """The keyed hash of (receipt key; report id, verdict)."""
    for case in map(from_hex, vector("receipt_tag")["cases"]):
        assert receipt_tag(case["receipt_key"], case["report_id"], case["verdict"]) == case["tag"]


def test_receipts_message_and_topics():
    """One message, byte for byte, and where it goes."""
    given = vector("receipts")
    receipts = tuple(Receipt(**from_hex(fields)) for fields in given["receipts"])

    assert encode_receipts(receipts).hex() == given["encoded"]
    assert decode_receipts(bytes.fromhex(given["encoded"])) == receipts
    assert reports_topic("flights") == given["topics"]["reports"]
    for case in given["topics"]["buckets"]:
        bucket = receipt_bucket(bytes.fromhex(case["report_id"]), case["buckets"])
        assert receipts_topic("flights", bucket) == case["topic"]


def test_envelope():
    """A sealed box of another day still opens; sealing is random, so only header and length are pinned."""
    given = vector("envelope")
    key = PrivateKey(bytes.fromhex(given["private_key"]))
    opened = unseal(bytes.fromhex(given["envelope"]), {encode_key_id(given["key_id"]): key})

    assert opened.hex() == given["opened"] == vector("report")["encoded"]
    assert list(ENVELOPE_SIZES) == given["sizes"]
    again = seal(opened, given["key_id"], key.public_key)
    assert again[:HEADER_BYTES].hex() == given["header"]
    assert again.startswith(MAGIC)
    assert len(again) * 2 == len(given["envelope"])


def test_ledger():
    """A chain of two rows."""
    rows = []
    for case in vector("ledger")["rows"]:
        fields = dict(zip(LedgerEntry.__struct_fields__, case["fields"], strict=True))
        row = LedgerEntry(**{n: bytes.fromhex(v) if n in {"policy_hash", "previous"} else v for n, v in fields.items()})
        assert row.digest().hex() == case["digest"]
        assert row.follows(rows[-1] if rows else None)
        rows.append(row)


def test_beacon():
    """A time signed on another day is still read, under the public key that a policy names."""
    given = vector("beacon")
    key = AggregatorKey(id=given["key_id"], public_key=given["public_key"], from_="2020-01-01", until="2030-01-01")

    assert read_beacon(bytes.fromhex(given["beacon"]), given["fleet"], [key]) == given["time_ms"]
    assert time_topic(given["fleet"]) == given["topic"]


def test_resend():
    """A request signed on another day is still read, under the public key that a policy names."""
    given = vector("resend")
    key = AggregatorKey(id=given["key_id"], public_key=given["public_key"], from_="2020-01-01", until="2030-01-01")
    asked = Resend(given["time_ms"], given["from_start"], given["reason"])

    assert read_resend(bytes.fromhex(given["request"]), given["fleet"], [key]) == asked
    assert resend_topic(given["fleet"]) == given["topic"]


def test_policy():
    """Canonical form, hash, metric versions and signature."""
    given = vector("policy")
    policy = build_policy(parsed("\n".join(given["yaml"])))
    key = SigningKey(bytes.fromhex(given["root_private"]))

    assert canonical_json(policy).decode() == given["canonical"]
    assert policy_hash(canonical_json(policy)).hex() == given["hash"]
    assert {name: plan.version for name, plan in plan_metrics(policy).items()} == given["metric_versions"]
    assert sign_policy(policy, [key]).decode() == given["signed"]
    verified = verify_policy(given["signed"].encode(), [key.verify_key.encode().hex()])
    assert verified.digest.hex() == given["hash"]
    assert {name: plan.version for name, plan in verified.plans.items()} == given["metric_versions"]


def test_bundle():
    """A delivery, byte for byte: its leaves, root, and that a device obeys it."""
    given = vector("bundle")
    content = given["bundle"].encode()
    bundle = read_bundle(content)
    leaves = [bytes.fromhex(leaf) for leaf in given["leaves"]]
    obeyed = judge(content, Trust((given["root"],), given["witness"]), None, given["now_ms"])

    assert leaf_hash(bundle.entry()) == leaves[-1]
    assert tree_root(leaves).hex() == given["root_hash"] == obeyed.head.root
    assert bundle.inclusion_hashes() == inclusion_proof(leaves, 2)
    assert bundle.consistency_hashes(2) == consistency_proof(leaves, 2)
    assert [len(bundle.consistency), obeyed.policy.policy.version, len(obeyed.successions)] == [2, 3, 1]
    assert canonicalize(msgspec.to_builtins(bundle)) + b"\n" == content


@pytest.mark.parametrize("case", vector("mechanisms")["cases"], ids=lambda case: f"{case['id']} {case['epsilon']}")
def test_mechanism(case):
    """Odds exactly (they are dyadic); estimates to twelve digits, since libm may differ in the last bit."""
    options = {name: case[name] for name in ("at_most", "draws") if name in case}
    mechanism = build(case["id"], case["epsilon"], tuple(case["labels"]), tuple(case["bounds"]), **options)
    sums = case["sums"]

    for name in MECHANISM_FIELDS & case.keys():
        assert getattr(mechanism, name) == case[name]
    for name in ("permanent_odds", "instantaneous_odds", "support"):
        if name in case:
            odds = getattr(mechanism, name)
            assert (odds.own, odds.other) == pytest.approx(case[name], rel=1e-12)
    if "payloads" in case:
        noised = [mechanism.decode(bytes.fromhex(payload)) for payload in case["payloads"]]
        assert len(mechanism.outputs()) == case["outputs"]
        assert mechanism.accumulate(noised).tolist() == sums
    assert mechanism.charge() == case["charge_nano"]
    assert mechanism.estimate(sums) == pytest.approx(case["estimate"], rel=1e-12)
    assert mechanism.variance(sums) == pytest.approx(case["variance"], rel=1e-12)
    assert mechanism.expected_error(sums[0]) == pytest.approx(case["expected_error"], rel=1e-12)
    for interval, (low, high) in zip(mechanism.interval(sums, 0.95), case["interval"], strict=True):
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize(
    "case", vector("peers")["cases"], ids=lambda case: f"{case['library']} {case['oracle']} {case['epsilon']}"
)
def test_other_libraries_estimate_the_same(case):
    """Where definitions agree: the same odds, no clipping. Our odds are dyadic, hence seven digits."""
    labels = tuple(map(str, range(case.get("categories", len(case.get("counts", ()))))))
    mechanism = build(case["mechanism"], case["epsilon"], labels, (0, 1))
    if "counts" in case:
        noised = [index for index, count in enumerate(case["counts"]) for _ in range(count)]
    else:
        noised = [mechanism.rank(members) for members in case["sets"]]

    assert mechanism.estimate(mechanism.accumulate(noised)) == pytest.approx(case["estimate"], abs=1e-7)


@pytest.mark.parametrize("case", vector("assignment")["cases"])
def test_assignment(case):
    key = assignment_key(bytes.fromhex(case["secret"]))

    assert key.hex() == case["key"]
    assert is_held_out(key, case["fleet"], 500) == case["held_out_of_500"]
    assert layer_position(key, case["layer"]) == case["position"]
    assert draw_arm(key, case["salt"], case["arms"]) == case["arm"]
    assert draw_arm(key, "another salt", case["three_arms"]) == case["arm_of_three"]
