"""The policy that `discreet policy new` writes."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

EXPIRES_DAYS = 365


def starter_policy(today: date) -> str:
    """A commented policy that lints clean: approvals for a year, a key that outlives them by a quarter."""
    text = (files("discreet_contract.policy") / "starter.yaml").read_text(encoding="utf-8")
    days = {
        "@FROM@": today,
        "@EXPIRES@": today + timedelta(days=EXPIRES_DAYS),
        "@UNTIL@": today + timedelta(days=EXPIRES_DAYS + 90),
    }
    for place, day in days.items():
        text = text.replace(place, day.isoformat())
    return text
