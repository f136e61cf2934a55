// Every vector that a device needs, checked by the code that was written from the document.

import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";

import * as wire from "./wire.mjs";

const hex = (text) => Buffer.from(text, "hex");
const read = (folder, name) => JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));

function checkReport({ report, encoded }) {
  const bytes = wire.encodeReport({
    fleet: report.fleet,
    policyHash: hex(report.policy_hash),
    metric: report.metric,
    windowStart: report.window_start,
    mechanism: report.mechanism,
    payload: hex(report.payload),
    dimensions: report.dimensions,
    id: hex(report.report_id),
    receiptKey: hex(report.receipt_key),
  });
  assert.equal(bytes.toString("hex"), encoded);
}

async function checkEnvelope(vector) {
  const bytes = hex(vector.envelope);
  assert.equal(bytes.subarray(0, 12).toString("hex"), vector.header);
  assert.deepEqual(Buffer.concat([Buffer.from("dsc1"), wire.keyId(vector.key_id)]), hex(vector.header));
  assert.deepEqual(vector.sizes, wire.ENVELOPE_SIZES);
  const sodium = wire.require("libsodium-wrappers");
  await sodium.ready;
  const secret = hex(vector.private_key);
  const open = sodium.crypto_box_seal_open(bytes.subarray(12), sodium.crypto_scalarmult_base(secret), secret);
  assert.equal(Buffer.from(open).toString("hex"), vector.opened);
  const other = wire.require("tweetnacl-sealedbox-js").open(bytes.subarray(12), sodium.crypto_scalarmult_base(secret), secret);
  assert.equal(Buffer.from(other).toString("hex"), vector.opened);
}

function checkReceipts(vector) {
  const receipts = wire.openReceipts(hex(vector.encoded));
  const plain = receipts.map((one) => ({ report_id: one.id.toString("hex"), verdict: one.verdict, tag: one.tag.toString("hex") }));
  assert.deepEqual(plain, vector.receipts);
  assert.equal(wire.topic("flights", "reports"), vector.topics.reports);
  for (const one of vector.topics.buckets)
    assert.equal(wire.topic("flights", `receipts/${wire.bucket(hex(one.report_id), one.buckets)}`), one.topic);
}

function checkPolicy(vector) {
  const { policy, signatures } = JSON.parse(vector.signed);
  assert.equal(wire.canonical(policy), vector.canonical);
  assert.equal(wire.policyHash(policy).toString("hex"), vector.hash);
  const der = Buffer.concat([hex("302e020100300506032b657004220420"), hex(vector.root_private)]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const again = sign(null, Buffer.from(`discreet policy 1\0${vector.canonical}`), key);
  assert.equal(again.toString("hex"), signatures[0].signature);
  assert.equal(createPublicKey(key).export({ format: "jwk" }).x, hex(signatures[0].root).toString("base64url"));
}

function checkBundle(vector) {
  const device = { fleet: "small", pinned: [vector.root], witness: vector.witness, nowMs: vector.now_ms };
  const { policy, head } = wire.obey(vector.bundle, device);
  assert.equal(policy.version, head.size);
  assert.equal(head.root, vector.root_hash);
  const bundle = JSON.parse(vector.bundle);
  assert.equal(wire.leafHash(bundle.policy).toString("hex"), vector.leaves.at(-1));
  wire.obey(vector.bundle, { ...device, seen: { size: 1, root: vector.leaves[0] } });
  const refused = [
    [vector.bundle, { ...device, pinned: [vector.witness] }],
    [vector.bundle, { ...device, fleet: "large" }],
    [vector.bundle, { ...device, witness: vector.root }],
    [vector.bundle, { ...device, seen: { size: 1, root: vector.leaves[1] } }],
    [vector.bundle, { ...device, seen: { size: 4, root: vector.root_hash } }],
    [vector.bundle, { ...device, nowMs: Date.parse("2036-01-01") }],
    [vector.bundle.replace('"late_horizon":"35d"', '"late_horizon":"36d"'), device],
  ];
  for (const [content, who] of refused) assert.throws(() => wire.obey(content, who), wire.Refused);
}

function checkBeacon(vector) {
  const keys = [{ id: vector.key_id, public_key: vector.public_key }];
  assert.equal(wire.topic(vector.fleet, "time"), vector.topic);
  assert.equal(wire.readBeacon(hex(vector.beacon), vector.fleet, keys), vector.time_ms);
  assert.throws(() => wire.readBeacon(hex(vector.beacon), "another", keys), wire.Refused);
}

function checkResend(vector) {
  const keys = [{ id: vector.key_id, public_key: vector.public_key }];
  assert.equal(wire.topic(vector.fleet, "resend"), vector.topic);
  const asked = { timeMs: vector.time_ms, fromStart: vector.from_start, reason: vector.reason };
  assert.deepEqual(wire.readResend(hex(vector.request), vector.fleet, keys), asked);
  assert.throws(() => wire.readResend(hex(vector.request), "another", keys), wire.Refused);
}

function checkOdds(vector) {
  const simple = vector.cases.filter((one) => one.id === "rr-1" || one.id === "krr-1");
  for (const one of simple) assert.equal(wire.truth(one.epsilon, one.labels.length || 2) / 2 ** 40, one.truth);
  return simple.length;
}

export async function checkVectors(folder) {
  const get = (name) => read(folder, name);
  checkReport(get("report"));
  checkReport(get("report_of_an_arm"));
  for (const one of get("report_id").cases)
    assert.equal(wire.reportId(hex(one.device_secret), one.fleet, one.metric, one.window_start).toString("hex"), one.report_id);
  for (const one of get("receipt_tag").cases)
    assert.equal(wire.receiptTag(hex(one.receipt_key), hex(one.report_id), one.verdict).toString("hex"), one.tag);
  checkReceipts(get("receipts"));
  await checkEnvelope(get("envelope"));
  checkPolicy(get("policy"));
  checkBundle(get("bundle"));
  checkBeacon(get("beacon"));
  checkResend(get("resend"));
  return { checked: ["report", "report_of_an_arm", "report_id", "receipt_tag", "receipts", "envelope", "policy", "bundle", "beacon", "resend"], odds: checkOdds(get("mechanisms")) };
}
