"""Cohorts, layers and experiments: who may be compared with whom, by public or random facts only."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from discreet_contract.policy.terms import Date, Label, Logic, Name, Percent, Record, Salt, Slot


class Cohort(Record, frozen=True):
    """Devices that share public facts, for ever: immutable once released."""

    installed_from: Date | None = None
    installed_until: Date | None = None
    platforms: tuple[Label, ...] = ()
    releases: tuple[Label, ...] = ()
    why: str = ""


class Layer(Record, frozen=True):
    """Experiments in one layer exclude one another."""

    holdout: Percent = "0%"
    why: str = ""


class Experiment(Record, frozen=True):
    """Arms drawn from a device's secret, compared on metrics that carry the arm."""

    hypothesis: str
    layer: Name
    algorithm: Literal["blake2b-1"]
    salt: Salt
    arms: Annotated[dict[Label, Annotated[int, Meta(ge=1, le=100)]], Meta(min_length=2, max_length=20)]
    traffic: Percent
    flag: Label
    start: Date
    end: Date
    primary: Name
    guardrails: tuple[Name, ...] = ()
    effect: Annotated[float, Meta(gt=0)] | None = None
    enrol: Logic | None = None
    eligible: Logic | None = None
    slots: Annotated[tuple[Slot, ...], Meta(max_length=20)] = ()
    owner: str = ""
