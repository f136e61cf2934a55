"""What is public of this device: platform, release of its software, day of installation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from discreet_contract.errors import RetryableError
from discreet_contract.files import write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.trials import Cohort

INSTALLED = "installed"


@dataclass(frozen=True, slots=True)
class Facts:
    """What agent.toml says of this machine, and the day (UTC) on which it first ran; None until a clock tells it."""

    platform: str = "linux"
    release: str = ""
    installed: str | None = None


def read_installed(state_dir: Path) -> str | None:
    """The day of installation. It has a file of its own: it outlives a database that is set aside."""
    try:
        text = (state_dir / INSTALLED).read_text(encoding="ascii").strip()
        return date.fromisoformat(text).isoformat()
    except (OSError, ValueError):  # fixed anew; who takes part in what runs is kept in the database
        return None


def fix_installed(state_dir: Path, day: str) -> None:
    """Write the day down, once. Raises RetryableError."""
    try:
        write_durably(state_dir / INSTALLED, f"{day}\n".encode())
    except OSError as exc:
        raise RetryableError(f"{state_dir / INSTALLED}: {exc.strerror}", hint="free the disk") from exc


def enrolment_context(policy: Policy, facts: Facts) -> dict[str, Any]:
    """What an experiment's `enrol` may read."""
    cohorts = {name: is_in(cohort, facts) for name, cohort in policy.cohorts.items()}
    return {"platform": facts.platform, "release": facts.release, "cohorts": cohorts}


def is_in(cohort: Cohort, facts: Facts) -> bool:
    """Whether this device belongs to a cohort; where its day is unknown, to none that asks for one."""
    if cohort.installed_from is not None and (facts.installed is None or facts.installed < cohort.installed_from):
        return False
    if cohort.installed_until is not None and (facts.installed is None or facts.installed >= cohort.installed_until):
        return False
    if cohort.platforms and facts.platform not in cohort.platforms:
        return False
    return not cohort.releases or facts.release in cohort.releases
