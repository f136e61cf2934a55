"""How a fleet is run: who may speak to the agent, how much it holds, what stops it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from discreet_contract.durations import Duration
from discreet_contract.policy.terms import ExperimentName, HexKey, Label, Logic, Name, Record, SignalName, Uid


class Retention(Record, frozen=True):
    """Upper bounds for each layer of data."""

    raw: Duration | None = None
    enriched: Duration | None = None
    metrics: Duration | None = None


class Outbox(Record, frozen=True):
    """How much may wait on the device for a receipt."""

    max_reports: Annotated[int, Meta(ge=1)] | None = None
    max_bytes: Annotated[int, Meta(ge=4096)] | None = None


class Sender(Record, frozen=True):
    """A local program that may speak to the agent, and about what."""

    uid: Uid | None = None
    gid: Uid | None = None
    token_sha256: HexKey | None = None
    signals: tuple[SignalName, ...] = ()
    features: tuple[Name, ...] = ()
    segments: tuple[Name, ...] = ()
    flags: tuple[Label, ...] = ()


class Contract(Record, frozen=True):
    """What a signal's sender promises of its events."""

    latency: Duration | None = None
    max_refused: Annotated[float, Meta(ge=0, le=1)] | None = None


class Guard(Record, frozen=True):
    """Reverts flags on the device where a signal becomes too frequent after a change."""

    from_: SignalName = msgspec.field(name="from")
    flags: Annotated[tuple[Label, ...], Meta(min_length=1)]
    at_most: Annotated[int, Meta(ge=0)]
    window: Duration
    where: Logic | None = None
    why: str = ""


class Kill(Record, frozen=True):
    """Switches that stop parts of a policy without taking them out of it."""

    personalization: bool = False
    flags: tuple[Label, ...] = ()
    experiments: tuple[ExperimentName, ...] = ()
    metrics: tuple[Name, ...] = ()
    signals: tuple[SignalName, ...] = ()
