"""A fleet whose reports wait to be sent: a policy of several mechanisms, and one sealed report from each device.

What the agent does between a bounded value and an envelope is done by the agent's own code (OpenDP draws, one secret
a device). Made once, by several processes, and kept in a folder; a second caller finds them there.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import parse_policy_text
from discreet_contract.policy.release import new_root_key, read_root_key, sign_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_aggregator.policies import PolicyShelf
    from discreet_contract.policy.release import VerifiedPolicy

FLEET = "bench"
WINDOW_SECONDS = 28 * 86_400
REPORT_ID_BYTES = 16

POLICY = """
discreet: 1
fleet: bench
version: 1
release: {{author: bench@example.org, reason: the ingest benchmark}}
consent: managed
aggregator: {{keys: [{{id: bench, public_key: "{public_key}", from: 2020-01-01, until: 2040-01-01}}]}}
budget: {{per_28_days: 100, per_365_days: 1000, lifetime: 10000, exhaustible: "a benchmark of one window"}}
signals:
  played:
    version: 1-0-0
    role: observation
    kind: outcome
    sensitivity: interaction
    why: Something was played
    owner: bench@example.org
    expires: 2039-01-01
    retention: 60d
    fields:
      genre: {{type: category, values: [news, drama, sport, music, other]}}
      channel: {{type: category, values: [{channels}]}}
      title: {{type: text, max_length: 40}}
      seconds: {{type: number, min: 0, max: 10000, grid: 10}}
metrics:
"""
METRICS = {  # each by another mechanism: rr-1, krr-1, llh-1 over 1,000 categories and over 65,536 cells, dbit-1, krr-1
    "at_all": "per_device: any, type: binary",
    "genre": "per_device: {most_frequent: genre}, type: category, mechanism: krr-1",
    "channel": "per_device: {most_frequent: channel}, type: category, mechanism: llh-1",
    "title": "per_device: {most_frequent: title}, type: open, salt: bench, dictionary: [solaris, stalker, mirror]",
    "seconds": "per_device: {sum: seconds}, type: mean, bounds: [0, 4000], mechanism: dbit-1",
    "longest": "per_device: {max: seconds}, type: histogram, edges: [100, 500, 2000]",
}
_CHANNELS = 999


@dataclass(frozen=True, slots=True)
class Fleet:
    """The folder that holds policy, keys and envelopes."""

    folder: Path
    root: str
    count: int

    def shelf(self) -> PolicyShelf:
        """The policy as the aggregator reads it."""
        from discreet_aggregator.policies import load_policies

        return load_policies([str(self.folder / "policies")], [self.root], FLEET)

    def envelopes(self) -> Iterator[bytes]:
        """Every envelope in the order in which they were made."""
        content = (self.folder / "envelopes").read_bytes()
        size = len(content) // self.count
        return (content[start : start + size] for start in range(0, len(content), size))

    def report_ids(self) -> list[bytes]:
        """Ids of the reports within the envelopes, in the same order."""
        content = (self.folder / "ids").read_bytes()
        return [content[start : start + REPORT_ID_BYTES] for start in range(0, len(content), REPORT_ID_BYTES)]


def make_fleet(folder: Path, count: int) -> Fleet:
    """The fleet in `folder` with `count` devices; made now unless it is there already and its window not too old."""
    facts = folder / "fleet.json"
    if facts.exists():
        known = json.loads(facts.read_text(encoding="utf-8"))
        if known["count"] == count and known["window"] == _last_window() and known["form"] == _form():
            return Fleet(folder, known["root"], count)
        raise SystemExit(f"{folder} holds another fleet: remove it, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    root = _release(folder)
    began = time.monotonic()
    _seal_all(folder, root, count)
    print(f"{count:,} reports made and sealed in {time.monotonic() - began:.0f} s", file=sys.stderr)
    known = {"count": count, "window": _last_window(), "root": root, "form": _form()}
    facts.write_text(json.dumps(known), encoding="utf-8")
    return Fleet(folder, root, count)


def _form() -> str:
    """What a kept fleet was made of; another policy makes other reports."""
    return hashlib.sha256(_policy_text("").encode()).hexdigest()


def _last_window() -> int:
    """Start of the newest window that has ended long enough ago, in seconds."""
    now = int(time.time()) - 86_400
    return now - now % WINDOW_SECONDS - WINDOW_SECONDS


def _policy_text(public_key: str) -> str:
    channels = ", ".join(f"c{number}" for number in range(_CHANNELS))
    common = "window: 28d, epsilon: 1.0, min_devices: 1, owner: bench@example.org, why: a benchmark"
    lines = [f"  {name}: {{from: played, {own}, {common}}}" for name, own in METRICS.items()]
    return POLICY.format(public_key=public_key, channels=channels) + "\n".join(lines) + "\n"


def _release(folder: Path) -> str:
    from discreet_aggregator.keys import new_key

    root = new_root_key(folder / "root.key")
    text = _policy_text(new_key(folder / "keys", "bench"))
    policy = build_policy(parse_policy_text(text.encode(), "bench.yaml"))
    (folder / "policies").mkdir()
    (folder / "policies" / "bench.json").write_bytes(sign_policy(policy, [read_root_key(folder / "root.key")]))
    return root


def _seal_all(folder: Path, root: str, count: int) -> None:
    processes = max(2, os.cpu_count() or 1)
    shares = [(str(folder), root, count // processes + (number < count % processes)) for number in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        parts = pool.starmap(_seal_some, shares)
    mixed = [pair for pairs in zip(*parts, strict=False) for pair in pairs]
    mixed += [pair for part in parts for pair in part[len(mixed) // processes :]]
    sizes = {len(envelope) for _, envelope in mixed}
    if len(sizes) != 1 or len({report_id for report_id, _ in mixed}) != count:
        raise SystemExit(f"a fleet of {count} devices sends envelopes of one length and no id twice, not {sizes}")
    (folder / "envelopes").write_bytes(b"".join(envelope for _, envelope in mixed))
    (folder / "ids").write_bytes(b"".join(report_id for report_id, _ in mixed))


def _seal_some(folder: str, root: str, count: int) -> list[tuple[bytes, bytes]]:
    """(report id, envelope) of so many devices, the metrics in turn."""
    from discreet_agent.seal import Subject, seal, valid_key
    from discreet_agent.summarise import bound, randomise

    policy = next(iter(Fleet(Path(folder), root, 0).shelf().values()))
    key = valid_key(policy.policy, time.time_ns() // 1_000_000)
    assert key is not None  # noqa: S101 - valid until 2040
    plans = [policy.plans[name] for name in METRICS]
    chance, window, made = random.Random(os.getpid()), _last_window(), []  # noqa: S311 - made-up values, not noise
    for number in range(count):
        plan = plans[number % len(plans)]
        noised = randomise(plan, bound(plan, _made_up(policy, plan.name, chance)))
        sealed = seal(policy, Subject(plan, window, ()), noised, secret=secrets.token_bytes(32), key=key)
        made.append((sealed.report_id, sealed.envelope))
    return made


def _made_up(policy: VerifiedPolicy, metric: str, chance: random.Random) -> int:
    """A value a device might have: small ones are more frequent."""
    values = policy.plans[metric].mechanism.domain()
    assert isinstance(values, range)  # noqa: S101 - of every metric here
    return values[min(int(chance.expovariate(4) * len(values)), len(values) - 1)]
