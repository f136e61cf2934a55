"""The policy language as JSON Schema, so that editors complete and check a policy while it is written.

The schema knows shapes; whether the parts fit one another only `discreet policy lint` knows.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec

from discreet_contract.policy.meanings import MEANINGS
from discreet_contract.policy.model import Policy, Reduction

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a policy file."""
    schema = msgspec.json.schema(Policy)
    for record, definition in schema["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            meaning = MEANINGS.get(f"{record}.{_attribute(key)}")
            if meaning is not None:
                definition["properties"][key] = _described(value, meaning)
    per_device = schema["$defs"]["Metric"]["properties"]["per_device"]
    reductions = {"enum": sorted(get_args(Reduction))}
    per_device = {key: value for key, value in per_device.items() if key != "description"}
    per_device["propertyNames"] = reductions
    schema["$defs"]["Metric"]["properties"]["per_device"] = {
        "description": MEANINGS["Metric.per_device"],
        "anyOf": [reductions, per_device | {"minProperties": 1, "maxProperties": 1}],
    }
    score = schema["$defs"]["Score"]
    score["required"] = [key for key in score["required"] if key != "weights"]
    score["anyOf"] = [{"required": ["weights"]}, {"required": ["model"]}]
    return {"$schema": _DIALECT, "title": "discreet policy", **schema}


def schema_text() -> str:
    """The schema as it stands in policies/schema/policy.schema.json."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _attribute(key: str) -> str:
    return {"from": "from_", "defaultVariant": "default_variant"}.get(key, key)


def _described(value: dict[str, Any], meaning: str) -> dict[str, Any]:
    return {**value, "description": meaning}
