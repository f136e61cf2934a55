"""Faults for the audit to find, each planted by hand: mechanisms that draw wrongly, devices that behave wrongly.

A faulty mechanism states honest odds and draws others, as a bug would. A faulty device stands around the real one,
or in its place.
"""

import json
import math
import secrets
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import msgspec
from nacl.public import PublicKey

from discreet_agent.audited import open_audited
from discreet_contract import envelope, wire
from discreet_contract.audit.device_path import Charge
from discreet_contract.durations import seconds
from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.local_hashing import LinearLocalHashing
from discreet_contract.mechanisms.memoised import MemoisedResponse
from discreet_contract.mechanisms.randomized_response import RandomizedResponse
from discreet_contract.policy.plan import plan_metrics


def planted(fault):
    """A plan factory whose every plan went through `fault`."""
    return lambda policy: {name: fault(plan) for name, plan in plan_metrics(policy).items()}


# --- mechanisms


def weaker(factor):
    """Noise of another scale than the odds state: drawn for ε / factor."""

    def fault(plan):
        honest = plan.mechanism
        drawn_for = replace(honest, epsilon=honest.epsilon / factor)
        faulty = type("Weaker", (type(honest),), {"randomize": lambda _, value: drawn_for.randomize(value)})
        return replace(plan, mechanism=faulty(**fields_of(honest)))

    return fault


def fields_of(mechanism):
    return {field.name: getattr(mechanism, field.name) for field in fields(mechanism)}


class NaiveResponse(RandomizedResponse):
    """p as the formula gives it, in floating point, and one bit more where that is too little to show."""

    @property
    def truth(self):
        return math.nextafter(1 / (1 + math.exp(-self.epsilon)), 1)


class NaiveKAry(KAryResponse):
    @property
    def truth(self):
        e = math.exp(self.epsilon)
        return math.nextafter(e / (e + self.categories - 1), 1)


class NaiveLaplace(DiscreteLaplace):
    @property
    def scale(self):
        return math.nextafter((self.high - self.low) / self.epsilon, 0)


class ClampsLate(DiscreteLaplace):
    """Adds noise to whatever it is given, and clamps the sum."""

    def randomize(self, value):
        noise = self.decode(super().randomize(self.low)) - self.low
        clamped = min(max(value + noise, self.low - self.reach), self.high + self.reach)
        return clamped.to_bytes(4, "big", signed=True)


def unbounded(plan):
    """The pipeline's own bound takes nothing away; the mechanism clamps afterwards."""
    return replace(plan, low=-(2**30), high=2**30, mechanism=ClampsLate(**fields_of(plan.mechanism)))


class SensitivityFromData(DiscreteLaplace):
    """As wide as the device's own value, as if that were all that could change."""

    def randomize(self, value):
        own = DiscreteLaplace(self.epsilon, 0, max(abs(value), 1)).randomize(min(max(value, 0), max(abs(value), 1)))
        return min(max(int.from_bytes(own, "big", signed=True), -self.reach), self.reach).to_bytes(
            4, "big", signed=True
        )


class DirectionByValue(LinearLocalHashing):
    """Draws again, once, where the public direction has another parity than the value."""

    def randomize(self, value):
        drawn = super().randomize(value)
        return drawn if self.decode(drawn) // self.field % 2 == value % 2 else super().randomize(value)


class DrawsEveryOtherTime(RandomizedResponse):
    """Saves a draw: two reports of one value share it."""

    def randomize(self, value):
        kept = self.__dict__.setdefault("kept", {})
        return kept.pop(value) if value in kept else kept.setdefault(value, super().randomize(value))


# --- devices


class Around:
    """The real device, with one thing done otherwise by a subclass."""

    def __init__(self, device):
        self.device = device
        self.recorded = 0

    def record(self, lines):
        accepted = self.device.record(lines)
        self.recorded += accepted
        return accepted

    def close_windows(self):
        self.device.close_windows()

    def envelopes(self):
        return self.device.envelopes()

    def charges(self):
        return self.device.charges()


def around(faulty):
    """A device path on which the real device is wrapped."""

    @contextmanager
    def path(folder, policy, clock):
        with open_audited(folder, policy, clock) as device:
            yield faulty(device)

    return path


class SkipsZero(Around):
    """Sends nothing if nothing was ever recorded, this time or before the device was opened."""

    def envelopes(self):
        active = self.recorded or self.device._device.store.counters().get("events_accepted")
        return self.device.envelopes() if active else []


class SealsToNobody(Around):
    """Envelopes of another length than reports have, that no key opens."""

    def envelopes(self):
        return [b"dsc1" + secrets.token_bytes(100) for _ in self.device.envelopes()]


class ChargesTheActive(Around):
    """Books half where nothing happened."""

    def charges(self):
        active = self.recorded or self.device._device.store.counters().get("events_accepted")
        charges = self.device.charges()
        return charges if active else charges[::2]


class SealedAnew(Around):
    """What waits is sealed again: another ephemeral key, other bytes."""

    def envelopes(self):
        return [sealed[:-32] + secrets.token_bytes(32) for sealed in self.device.envelopes()]


@contextmanager
def seals_again(folder, policy, clock):
    """A sender that keeps what it said and not what it sealed: other bytes after every start."""
    is_restart = folder.exists()
    with open_audited(folder, policy, clock) as device:
        yield SealedAnew(device) if is_restart else device


# --- a memoised metric, on a device of its own

LIFETIME = 2.0


def as_memoised(plan):
    """A yes or no through lgrr-1: a permanent response, drawn once, and one more for every report."""
    metric = msgspec.structs.replace(plan.metric, epsilon=LIFETIME)
    return replace(plan, metric=metric, mechanism=MemoisedResponse(LIFETIME, ("no", "yes")))


class MemoisedDevice:
    """A whole small device for `any` metrics: reports randomised twice, state in one file, one charge for ever."""

    def __init__(self, folder: Path, policy, clock, *, redraws, named):
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.policy, self.clock, self.redraws = folder / "state.json", policy, clock, redraws
        self.named, self.device = named, secrets.token_bytes(8)
        self.state = {"next": None, "kept": {}, "envelopes": [], "charges": []}
        if self.file.exists():
            self.state = json.loads(self.file.read_text())
        [self.length] = {plan.metric.window_seconds for plan in policy.plans.values()}
        self.active = False

    def record(self, lines):
        self.active = True
        return len(lines)

    def close_windows(self):
        now = self.clock.now_ms() // 1000
        if self.state["next"] is None:
            self.state["next"] = now
        while self.state["next"] + self.length + seconds(self.policy.policy.lateness) <= now:
            for plan in self.policy.plans.values():
                self.report(plan, self.state["next"])
            self.state["next"] += self.length
            self.active = False
        self.file.write_text(json.dumps(self.state))

    def report(self, plan, start):
        kept = self.state["kept"]
        if plan.name not in kept:
            self.state["charges"].append([plan.name, start, plan.mechanism.charge()])
        if plan.name not in kept or self.redraws:
            kept[plan.name] = plan.mechanism.permanent(int(self.active))
        payload = plan.mechanism.randomize_permanent(kept[plan.name])
        [key] = self.policy.policy.aggregator.keys
        head = (1, self.policy.policy.fleet, self.policy.wire_hash, plan.name, start, "lgrr-1")
        report = wire.Report(*head, payload, (), *self.named(self.device, self.active))
        body = wire.encode_report(report, overhead=envelope.OVERHEAD_BYTES)
        self.state["envelopes"].append(envelope.seal(body, key.id, PublicKey(bytes.fromhex(key.public_key))).hex())

    def envelopes(self):
        return [bytes.fromhex(sealed) for sealed in self.state["envelopes"]]

    def charges(self):
        return [Charge(*charge) for charge in self.state["charges"]]


def at_random(_device, _active):
    """Report id and receipt key that say nothing."""
    return secrets.token_bytes(16), secrets.token_bytes(32)


def id_says_value(device, active):
    """The last bit of the id is the device's own answer."""
    name, key = at_random(device, active)
    return name[:-1] + bytes([name[-1] & 0xFE | active]), key


def id_says_device(device, _active):
    """Half of the id is the device's, so that whoever opens its reports can put them together."""
    name, key = at_random(device, _active)
    return device + name[8:], key


def key_is_kept(device, _active):
    """One receipt key for all reports of a device."""
    return secrets.token_bytes(16), device * 4


def memoised(*, redraws=False, named=at_random):
    """Its device path."""

    @contextmanager
    def path(folder, policy, clock):
        yield MemoisedDevice(folder, policy, clock, redraws=redraws, named=named)

    return path
