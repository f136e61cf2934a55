// A whole device from docs/wire-format.md: checks its policy, draws, seals, publishes, and believes only its receipt.
//   node device.mjs send '{"bundle": …, "root": …, "secret": …, "metric": …, "window": …, "value": …, "broker": …}'
//   node device.mjs vectors FOLDER
// Prints one JSON object. It keeps no outbox and no budget: those rules are the agent's, and no part of the format.

import { randomBytes, randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

import * as wire from "./wire.mjs";
import { checkVectors } from "./vectors.mjs";

/** Randomised response among k answers: the truth with the documented odds, else one of the others, all alike. */
function randomise(index, k, epsilon) {
  const draw = randomInt(2 ** 40);
  if (draw < wire.truth(epsilon, k)) return index;
  const other = randomInt(k - 1);
  return other < index ? other : other + 1;
}

function labelsOf(policy, metric) {
  const field = Object.values(metric.per_device)[0];
  return [...policy.signals[metric.from].fields[field].values, "none"];
}

function payloadOf(policy, metric, value) {
  if (metric.mechanism === "rr-1") return Buffer.from([randomise(value ? 1 : 0, 2, metric.epsilon)]);
  if (metric.mechanism !== "krr-1") throw new wire.Refused(`this device does not know ${metric.mechanism}`);
  const labels = labelsOf(policy, metric);
  const drawn = randomise(labels.indexOf(value), labels.length, metric.epsilon);
  return labels.length > 256 ? Buffer.from([drawn >> 8, drawn & 255]) : Buffer.from([drawn]);
}

function keyFor(policy, nowMs) {
  const today = new Date(nowMs).toISOString().slice(0, 10);
  const valid = policy.aggregator.keys.filter((key) => key.from <= today && today < key.until);
  valid.sort((a, b) => (a.from === b.from ? (a.id < b.id ? 1 : -1) : a.from < b.from ? 1 : -1));
  if (valid.length === 0) throw new wire.Refused("no key is valid today");
  return valid[0];
}

const SEALERS = {
  libsodium: async (body, key) => {
    const sodium = wire.require("libsodium-wrappers");
    await sodium.ready;
    return sodium.crypto_box_seal(body, key);
  },
  tweetnacl: async (body, key) => wire.require("tweetnacl-sealedbox-js").seal(body, key),
};

async function exchange(order, policy, report, envelope) {
  const mqtt = wire.require("mqtt");
  const client = await mqtt.connectAsync(order.broker, { protocolVersion: 5, clean: true, username: order.username, password: order.password });
  const answers = wire.topic(policy.fleet, `receipts/${wire.bucket(report.id, policy.receipt_buckets)}`);
  await client.subscribeAsync(answers);
  const verdicts = [];
  for (let copy = 0; copy < (order.copies ?? 1); copy += 1) {
    verdicts.push(await untilAnswered(client, wire.topic(policy.fleet, "reports"), report, envelope));
    client.removeAllListeners("message");
  }
  await client.endAsync();
  return { verdicts, answers };
}

/** The verdict on a report: the same bytes go out again, after a growing and jittered wait, until a receipt fits. */
async function untilAnswered(client, reports, report, envelope) {
  let answered = false;
  const heard = new Promise((resolve) => client.on("message", (_, content) => resolveOwn(content, report, resolve)));
  heard.then(() => (answered = true));
  for (let wait = 1000; !answered; wait *= 2) {
    await client.publishAsync(reports, envelope, { qos: 1 });
    await Promise.race([heard, delay(wait * (0.5 + Math.random()))]);
  }
  return heard;
}

function resolveOwn(content, report, resolve) {
  const own = wire.openReceipts(content).find((one) => one.id.equals(report.id));
  if (own && own.tag.equals(wire.receiptTag(report.receiptKey, own.id, own.verdict))) resolve(own.verdict);
}

async function send(order) {
  const { policy } = wire.obey(readFileSync(order.bundle), { fleet: order.fleet, pinned: [order.root], nowMs: Date.now() });
  const metric = policy.metrics[order.metric];
  const report = {
    fleet: policy.fleet,
    policyHash: wire.policyHash(policy).subarray(0, 16),
    metric: order.metric,
    windowStart: order.window,
    mechanism: metric.mechanism,
    payload: payloadOf(policy, metric, order.value),
    dimensions: [],
    id: wire.reportId(Buffer.from(order.secret, "hex"), policy.fleet, order.metric, order.window),
    receiptKey: randomBytes(32),
  };
  const key = keyFor(policy, Date.now());
  const sealed = await SEALERS[order.sealer ?? "libsodium"](wire.encodeReport(report, policy.padding), Buffer.from(key.public_key, "hex"));
  const envelope = wire.envelope(key.id, sealed);
  const { verdicts, answers } = await exchange(order, policy, report, envelope);
  return { id: report.id.toString("hex"), payload: report.payload.toString("hex"), bytes: envelope.length, verdicts, answers };
}

const [, , command, argument] = process.argv;
const done = command === "vectors" ? checkVectors(argument) : Promise.all(JSON.parse(argument).map(send));
console.log(JSON.stringify(await done));
