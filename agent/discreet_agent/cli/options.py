"""Options that many commands of `discreet agent` share, and the policy they speak of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from discreet_agent.config import Settings
    from discreet_contract.policy.release import VerifiedPolicy

config_option = click.option(
    "--config", "-c", type=click.Path(path_type=Path), help="agent.toml (default: the user's, else /etc/discreet)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def policy_in_force(settings: Settings) -> VerifiedPolicy:
    """The policy that an agent under this configuration obeys. Raises ConfigError or SignatureRefusedError."""
    from discreet_agent.policies import Policies
    from discreet_contract.clock import SystemClock
    from discreet_contract.policy.obey import Trust

    trust = Trust(settings.roots, settings.witness)
    return Policies(settings.policy, trust, settings.state_dir, SystemClock()).start().policy
