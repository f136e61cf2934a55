"""Devices walk the whole path under a copy of the policy: events, windows, envelopes, and what was inside them.

The copy holds one metric many times under different names, so that one window of one device
gives many independent reports; its caps are raised, since caps are not what is measured here,
and its envelopes are sealed to a key of the audit's own, so that they are read as an
aggregator reads them. Everything else is the policy's.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from discreet_contract import envelope, wire
from discreet_contract.clock import ManualClock, window_start
from discreet_contract.durations import seconds
from discreet_contract.errors import IllegalPayloadError, PermanentError
from discreet_contract.policy.model import AggregatorKey, Budget
from discreet_contract.policy.release import VerifiedPolicy, sign_policy, verify_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from discreet_contract.audit.device_path import AuditedDevice, DevicePath
    from discreet_contract.audit.scenario import Script
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan

    Noised: TypeAlias = npt.NDArray[np.int64]
    PlanFactory: TypeAlias = Callable[[Policy], dict[str, MetricPlan]]

SILENCE = -(2**62)  # stands for a report that never came
ILLEGAL = SILENCE + 1  # stands for a payload that the mechanism's own `decode` refuses
_COPIES = 60
_EVENTS = 20_000  # folded in one window, over all copies
_KEY_ID = "audit"
_CAP = 1e6


@dataclass(frozen=True, slots=True)
class Form:
    """What of a report is public, or shows to whoever opens it, beside its value."""

    mechanism: str
    envelope_bytes: int
    payload_bytes: int
    dimensions: wire.Dimensions


@dataclass(frozen=True)
class Trace:
    """What left one device. `noised` is copies × windows; `charges` counts (window number, nano-ε)."""

    noised: Noised
    names: npt.NDArray[np.uint8]  # copies × windows × bytes of report id and receipt key; zeros where none came
    forms: Counter[Form]
    reports: int
    charges: Counter[tuple[int, int]]
    resends_same: bool
    refused_events: int


class Walk:
    """One metric of one policy, ready to be walked by any number of fresh devices."""

    def __init__(
        self, policy: Policy, name: str, path: DevicePath, plans: PlanFactory, windows: int, events: int
    ) -> None:
        self._path = path
        self._windows = windows
        self._key = PrivateKey.generate()
        self._names = [f"audited_{number}" for number in range(max(4, min(_COPIES, _EVENTS // max(events, 1))))]
        copy = _copy_of(policy, name, self._names, self._key)
        root = SigningKey.generate()
        verified = verify_policy(sign_policy(copy, [root]), [root.verify_key.encode().hex()])
        self._policy: VerifiedPolicy = replace(verified, plans=plans(verified.policy))
        self._plan = self._policy.plans[self._names[0]]
        self._start = _first_window(policy, self._plan.metric.window_seconds)

    @property
    def plan(self) -> MetricPlan:
        """The metric as the devices run it."""
        return self._plan

    @property
    def reports_a_device(self) -> int:
        """Independent reports that one device gives at the least: one a copy."""
        return len(self._names)

    def run(self, script: Script) -> Trace:
        """A fresh device lives through all windows under one script, then is opened once more."""
        length = self._plan.metric.window_seconds
        refused = 0
        clock = ManualClock(self._start * 1000)
        with tempfile.TemporaryDirectory(prefix="discreet-audit-") as folder:
            with self._path(Path(folder) / "device", self._policy, clock) as device:
                device.close_windows()
                for start in range(self._start, self._start + self._windows * length, length):
                    refused += _live(device, script, start, clock)
                    clock.advance_to((start + length + seconds(self._policy.policy.lateness)) * 1000)
                    device.close_windows()
                first = sorted(device.envelopes())
            with self._path(Path(folder) / "device", self._policy, clock) as device:
                device.close_windows()
                again = sorted(device.envelopes())
                charges = Counter(((c.window_start - self._start) // length, c.nano) for c in device.charges())
        return self._trace(first, charges, resends_same=first == again, refused=refused)

    def _trace(
        self, envelopes: list[bytes], charges: Counter[tuple[int, int]], *, resends_same: bool, refused: int
    ) -> Trace:
        noised = np.full((len(self._names), self._windows), SILENCE, dtype=np.int64)
        names = np.zeros((*noised.shape, wire.REPORT_ID_BYTES + wire.RECEIPT_KEY_BYTES), dtype=np.uint8)
        places = {name: place for place, name in enumerate(self._names)}
        forms: Counter[Form] = Counter()
        for sealed in envelopes:
            report = self._open(sealed)
            if report is None:
                forms[Form("unreadable", len(sealed), 0, ())] += 1
                continue
            forms[Form(report.mechanism, len(sealed), len(report.payload), report.dimensions)] += 1
            window = (report.window_start - self._start) // self._plan.metric.window_seconds
            if report.metric in places and 0 <= window < self._windows:  # another one is one report too many
                noised[places[report.metric], window] = self._decode(report.payload)
                names[places[report.metric], window] = list(report.report_id + report.receipt_key)
        return Trace(noised, names, forms, len(envelopes), charges, resends_same, refused)

    def _open(self, sealed: bytes) -> wire.Report | None:
        try:
            return wire.decode_report(envelope.unseal(sealed, {envelope.encode_key_id(_KEY_ID): self._key}))
        except (envelope.EnvelopeRefusedError, wire.MalformedError):
            return None

    def _decode(self, payload: bytes) -> int:
        try:
            return self._plan.mechanism.decode(payload)
        except IllegalPayloadError:
            return ILLEGAL


def _live(device: AuditedDevice, script: Script, start: int, clock: ManualClock) -> int:
    refused = 0
    for at_ms, lines in script.lines(start):
        clock.advance_to(at_ms)
        refused += len(lines) - device.record(lines)
    return refused


def _copy_of(policy: Policy, name: str, names: list[str], key: PrivateKey) -> Policy:
    """One metric under many names; no section that could refer to another, and no turns to wait for."""
    metric = msgspec.structs.replace(policy.metrics[name], rotate=None, by=())
    public = key.public_key.encode().hex()
    audit_key = AggregatorKey(id=_KEY_ID, public_key=public, from_="1970-01-01", until="9999-01-01")
    return type(policy)(
        discreet=policy.discreet,
        fleet=policy.fleet,
        version=policy.version,
        release=policy.release,
        consent=policy.consent,
        aggregator=msgspec.structs.replace(policy.aggregator, keys=(audit_key,)),
        signals=policy.signals,
        metrics=dict.fromkeys(names, metric),
        budget=Budget(per_28_days=_CAP, per_365_days=_CAP, lifetime=_CAP, exhaustible="the audit samples many windows"),
        lateness=policy.lateness,
        late_horizon=policy.late_horizon,
        spread=policy.spread,
        receipt_buckets=policy.receipt_buckets,
        padding=policy.padding,
        undeclared=policy.undeclared,
    )


def _first_window(policy: Policy, length: int) -> int:
    """The first whole window in which the policy's own keys are valid: signals are approved then."""
    opened = min(datetime.fromisoformat(key.from_).replace(tzinfo=UTC) for key in policy.aggregator.keys)
    start = int(opened.timestamp()) + length - 1
    if start < 0:
        raise PermanentError("an aggregator key is valid before 1970", hint="mend `from` of the key")
    return window_start(start, length)
