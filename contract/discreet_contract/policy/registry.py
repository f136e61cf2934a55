"""An entry for the Differential Privacy Deployments Registry (registry.opendp.org), tier 3, as JSON builtins.

The registry's tiers name what an entry discloses; the keys here say the same in snake case. What a
policy does not know, such as where figures are published, is null for the curator to fill in.
"""

from __future__ import annotations

from typing import Any


def registry_entry(facts: dict[str, Any]) -> dict[str, Any]:
    """The entry that these facts of `explain` support."""
    year = facts["epsilon"]["per_365_days"]
    return {
        "tier": 3,
        "deployment_name": f"discreet fleet {facts['fleet']}, policy version {facts['version']}",
        "data_curator": facts["release"]["author"],
        "intended_use": [metric["why"] for metric in facts["leaves"].values()],
        "data_product_type": "Aggregate statistics per metric and window, with intervals",
        "data_product_description": {name: _product(metric) for name, metric in facts["leaves"].items()},
        "data_product_region": None,
        "publication_date": None,
        "dp_flavor": {
            "name": "Pure differential privacy (local)",
            "data_domain": {name: metric["from"] for name, metric in facts["leaves"].items()},
            "unprotected_quantities": ["that a device is installed and reachable", "when it sent, within its spread"],
        },
        "privacy_loss": {
            "privacy_unit": "one device",
            "privacy_unit_description": "All that one device contributes; each report is one bounded value",
            "privacy_parameters": {
                "epsilon_per_report": {name: metric["epsilon"] for name, metric in facts["leaves"].items()},
                "epsilon_per_365_days": year["at_most"],
                "delta": 0.0,
                "tight_epsilon_per_365_days": year["tight"],
                "delta_of_the_tight_epsilon": None if year["tight"] is None else facts["epsilon"]["delta"],
                "epsilon_lifetime": facts["epsilon"]["lifetime_cap"],
            },
        },
        "model": {
            "name": "Local",
            "actors": {"release": "each device", "curator": "the aggregator", "reader": "whoever reads its figures"},
            "trust_assumptions": ["the device", "its randomness", "the keys that sign policies"],
        },
        "accounting": {
            "composition": "plain addition of ε over metrics and windows, capped on the device",
            "post_processing": "unbiased estimates with intervals; figures withheld below min_devices",
        },
        "implementation": {
            "mechanisms": sorted({metric["mechanism"] for metric in facts["leaves"].values()}),
            "libraries": ["OpenDP"],
            "pre_processing": "clamped to public bounds, one value per device and window",
            "data_source_access": facts["consent"],
            "parameter_rationale": None,
            "policy_hash": facts["hash"],
        },
        "additional_information": None,
    }


def _product(metric: dict[str, Any]) -> str:
    return f"{metric['type']} of {metric['per_device']} of {metric['from']} per device, every {metric['window']}"
