// The bytes of docs/wire-format.md, written in another language from that document alone.
// Nothing here was taken from the Python code; where the document was not enough, the document was mended.

import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { createRequire } from "node:module";

export const require = createRequire(`${process.env.INTEROP_MODULES}/`);
const { blake2b } = require("blakejs");

export const ENVELOPE_SIZES = [256, 512, 1024, 4096];
export const SEALED_OVERHEAD = 48;
const HEADER = 12;

export class Refused extends Error {}

function check(holds, what) {
  if (!holds) throw new Refused(what);
}

// --- MessagePack, shortest form ---------------------------------------------------------

function integer(number) {
  const bytes = Buffer.alloc(9);
  if (number >= 0 && number < 0x80) return Buffer.from([number]);
  check(number >= 0, "a negative number is never sent");
  if (number < 0x100) return Buffer.from([0xcc, number]);
  if (number < 0x10000) return bytes.fill(0xcd, 0, 1) && bytes.writeUInt16BE(number, 1) && bytes.subarray(0, 3);
  if (number < 0x100000000) return bytes.fill(0xce, 0, 1) && bytes.writeUInt32BE(number, 1) && bytes.subarray(0, 5);
  bytes[0] = 0xcf;
  bytes.writeBigUInt64BE(BigInt(number), 1);
  return bytes;
}

function text(value) {
  const body = Buffer.from(value, "utf8");
  const head = body.length < 32 ? [0xa0 | body.length] : [0xd9, body.length];
  check(body.length < 256, "a text of 256 bytes or more");
  return Buffer.concat([Buffer.from(head), body]);
}

function binary(value) {
  const head = value.length < 256 ? [0xc4, value.length] : [0xc5, value.length >> 8, value.length & 255];
  return Buffer.concat([Buffer.from(head), value]);
}

export function pack(value) {
  if (typeof value === "number") return integer(value);
  if (typeof value === "string") return text(value);
  if (Buffer.isBuffer(value)) return binary(value);
  check(value.length < 16, "an array of 16 or more");
  return Buffer.concat([Buffer.from([0x90 | value.length]), ...value.map(pack)]);
}

/** Reads what a stranger may send: every form that receipts and beacons can take. */
export function unpack(bytes) {
  let at = 0;
  const number = (width) => {
    const value = width === 8 ? Number(bytes.readBigUInt64BE(at)) : bytes.readUIntBE(at, width);
    at += width;
    return value;
  };
  const take = (length) => {
    check(at + length <= bytes.length, "MessagePack that ends too early");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const array = (length) => Array.from({ length }, () => item());
  const item = () => {
    const head = number(1);
    if (head < 0x80) return head;
    if (head >= 0x90 && head < 0xa0) return array(head & 15);
    if (head >= 0xa0 && head < 0xc0) return take(head & 31).toString("utf8");
    if (head >= 0xc4 && head <= 0xc6) return take(number(1 << (head - 0xc4)));
    if (head >= 0xcc && head <= 0xcf) return number(1 << (head - 0xcc));
    if (head >= 0xd9 && head <= 0xdb) return take(number(1 << (head - 0xd9))).toString("utf8");
    if (head === 0xdc || head === 0xdd) return array(number(head === 0xdc ? 2 : 4));
    throw new Refused(`MessagePack head ${head}`);
  };
  const value = item();
  check(at === bytes.length, "bytes after the end");
  return value;
}

// --- Report, envelope, receipts ---------------------------------------------------------

const person = (name) => Buffer.concat([Buffer.from(name), Buffer.alloc(16)]).subarray(0, 16);
const keyed = (message, key, name) => Buffer.from(blake2b(message, key, 16, undefined, person(name)));

export const reportId = (secret, fleet, metric, start) => keyed(pack([fleet, metric, start]), secret, "discreet-report");
export const receiptTag = (key, id, verdict) => keyed(Buffer.concat([id, Buffer.from([verdict])]), key, "discreet-receipt");

export function encodeReport(report, least = 256) {
  const fields = [1, report.fleet, report.policyHash, report.metric, report.windowStart, report.mechanism, report.payload];
  const body = Buffer.concat([Buffer.from([0x9b]), ...[...fields, report.dimensions, report.id, report.receiptKey].map(pack)]);
  const fixed = body.length + 3 + HEADER + SEALED_OVERHEAD;
  const size = ENVELOPE_SIZES.find((one) => one >= Math.max(fixed, least));
  check(size !== undefined, "a report over the largest envelope");
  const filler = size - fixed;
  return Buffer.concat([body, Buffer.from([0xc5, filler >> 8, filler & 255]), Buffer.alloc(filler)]);
}

export const keyId = (id) => Buffer.concat([Buffer.from(id, "ascii"), Buffer.alloc(8)]).subarray(0, 8);
export const envelope = (id, sealed) => Buffer.concat([Buffer.from("dsc1"), keyId(id), Buffer.from(sealed)]);

export function openReceipts(content) {
  return unpack(content).map(([id, verdict, tag]) => ({ id, verdict, tag }));
}

export const topic = (fleet, rest) => `discreet/1/${fleet}/${rest}`;
export const bucket = (id, buckets) => Math.floor((id.readUInt16BE(0) * buckets) / 65536).toString(16);

// --- Policy, log, bundle ----------------------------------------------------------------

/** RFC 8785: ECMAScript's own numbers and strings, keys sorted by UTF-16 units. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
export const policyHash = (policy) => sha256(Buffer.from(canonical(policy)));
export const leafHash = (entry) => sha256(Buffer.from([0]), Buffer.from(`${canonical(entry)}\n`));
const node = (left, right) => sha256(Buffer.from([1]), left, right);

function signedBy(publicKey, label, statement, signature) {
  const key = createPublicKey({ key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey]), format: "der", type: "spki" });
  return verifySignature(null, Buffer.concat([Buffer.from(`${label}\0`), statement]), key, signature);
}
const signed = (hex, label, value, signature) =>
  signedBy(Buffer.from(hex, "hex"), label, Buffer.from(canonical(value)), Buffer.from(signature, "hex"));

/** RFC 9162, section 2.1.3.2. */
export function includes(leaf, index, size, proof, root) {
  let [fn, sn, hash] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = node(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [fn >> 1, sn >> 1];
    } else hash = node(hash, sibling);
    [fn, sn] = [fn >> 1, sn >> 1];
  }
  return sn === 0 && hash.equals(root);
}

/** RFC 9162, section 2.1.4.2. */
export function grewFrom(first, firstRoot, second, secondRoot, given) {
  if (first === second) return given.length === 0 && firstRoot.equals(secondRoot);
  const proof = Number.isInteger(Math.log2(first)) ? [firstRoot, ...given] : [...given];
  if (proof.length === 0) return false;
  let [fn, sn] = [first - 1, second - 1];
  while (fn % 2 === 1) [fn, sn] = [fn >> 1, sn >> 1];
  let [fr, sr] = [proof[0], proof[0]];
  for (const one of proof.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      [fr, sr] = [node(one, fr), node(one, sr)];
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [fn >> 1, sn >> 1];
    } else sr = node(sr, one);
    [fn, sn] = [fn >> 1, sn >> 1];
  }
  return sn === 0 && fr.equals(firstRoot) && sr.equals(secondRoot);
}

/** Which roots count for a head of this size, after the changes of roots that were signed. */
function rootsAt(pinned, fleet, successions, size) {
  const fromVersion = new Map(pinned.map((root) => [root, [0, Infinity]]));
  for (const { signature, ...statement } of successions) {
    const days = fromVersion.get(statement.old);
    if (statement.fleet !== fleet || days === undefined || days[1] <= statement.from_version) continue;
    if (!signed(statement.old, "discreet root succession 1", statement, signature)) continue;
    days[1] = statement.from_version;
    fromVersion.set(statement.new, [statement.from_version, Infinity]);
  }
  return [...fromVersion].filter(([, [from, until]]) => from <= size && size < until).map(([root]) => root);
}

/** The policy inside, if a device of `fleet` that pinned `pinned` obeys it at `nowMs`. `seen`: the last head obeyed. */
export function obey(content, { fleet, pinned, witness, nowMs, seen }) {
  check(content.length <= 1_000_000, "a bundle of over 1,000,000 bytes");
  const bundle = JSON.parse(content);
  const { head, policy: entry } = bundle;
  check(bundle.bundle === 1, "a bundle of another form");
  check(entry.policy.fleet === fleet && head.fleet === fleet, "another fleet's policy");
  const roots = rootsAt(pinned, fleet, bundle.successions ?? [], head.size);
  const { signatures, witnesses, ...statement } = head;
  for (const [what, label, value] of [[entry.signatures, "discreet policy 1", entry.policy], [signatures, "discreet log head 1", statement]]) {
    const counting = what.filter((one) => roots.includes(one.root));
    check(counting.length > 0, `${label}: signed by no root`);
    check(counting.every((one) => signed(one.root, label, value, one.signature)), `${label}: a signature does not fit`);
  }
  const root = Buffer.from(head.root, "hex");
  check(entry.policy.version === head.size, "not the newest entry");
  const proof = bundle.inclusion.map((one) => Buffer.from(one, "hex"));
  check(includes(leafHash(entry), head.size - 1, head.size, proof, root), "the log does not hold it");
  if (seen) {
    check(seen.size <= head.size, "an earlier head than the last one");
    const growth = seen.size === head.size ? [] : bundle.consistency.find((one) => one.size === seen.size)?.proof;
    check(growth !== undefined, "no proof of growth");
    check(seen.size < head.size || (seen.time_ms ?? 0) <= head.time_ms, "an earlier head of the same size");
    check(grewFrom(seen.size, Buffer.from(seen.root, "hex"), head.size, root, growth.map((one) => Buffer.from(one, "hex"))), "another log");
  }
  if (witness) {
    const said = (witnesses ?? []).find((one) => one.root === witness);
    check(said !== undefined && signed(witness, "discreet log head witnessed 1", statement, said.signature), "not witnessed");
  }
  const today = new Date(nowMs).toISOString().slice(0, 10);
  check(entry.policy.aggregator.keys.some((key) => today < key.until), "all aggregator keys are over");
  return { policy: entry.policy, head };
}

// --- Time -------------------------------------------------------------------------------

const P = 2n ** 255n - 19n;

function power(base, exponent) {
  let result = 1n;
  for (let [square, rest] = [base % P, exponent]; rest > 0n; [square, rest] = [(square * square) % P, rest >> 1n])
    if (rest & 1n) result = (result * square) % P;
  return result;
}

const littleEndian = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);

/** The Ed25519 key, sign bit 0, of an X25519 one: y = (u − 1)/(u + 1). */
export function edwards(montgomery) {
  const u = littleEndian(montgomery) % 2n ** 255n;
  const y = ((u - 1n + P) * power(u + 1n, P - 2n)) % P;
  return Buffer.from(y.toString(16).padStart(64, "0"), "hex").reverse();
}

export function readBeacon(content, fleet, keys) {
  const [form, id, timeMs, signature] = unpack(content);
  check(form === 1, "a beacon of another form");
  const key = keys.find((one) => keyId(one.id).equals(id));
  check(key !== undefined, "signed by a key that the policy does not name");
  const statement = pack([fleet, timeMs]);
  check(signedBy(edwards(Buffer.from(key.public_key, "hex")), "discreet time 1", statement, signature), "a beacon that was altered");
  return timeMs;
}

/** A request to send again: from which window on, and why. */
export function readResend(content, fleet, keys) {
  const [form, id, timeMs, fromStart, reason, signature] = unpack(content);
  check(form === 1, "a request of another form");
  const key = keys.find((one) => keyId(one.id).equals(id));
  check(key !== undefined, "signed by a key that the policy does not name");
  const statement = pack([fleet, timeMs, fromStart, reason]);
  check(signedBy(edwards(Buffer.from(key.public_key, "hex")), "discreet resend 1", statement, signature), "a request that was altered");
  return { timeMs, fromStart, reason };
}

// --- Draws ------------------------------------------------------------------------------

/** The probability of the truth for one of k answers, in units of 2^-40: what is drawn is exactly this. */
export function truth(epsilon, k) {
  const e = Math.exp(epsilon);
  return Math.floor((e / (e + k - 1) - 2 ** -50) * 2 ** 40);
}
