"""Words that every section of the policy language uses: names, dates, shares, and the record itself."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct

from discreet_contract.durations import END

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}" + END, description="lower case, digits, _")]
SignalName: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){0,3}" + END, max_length=64, description="dotted lower case"),
]
FleetName: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,39}" + END, description="lower case, digits, -")]
SchemaVersion: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[1-9][0-9]{0,3}-[0-9]{1,4}-[0-9]{1,4}" + END, description="SchemaVer: model-revision-addition"),
]
Date: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{4}-[01][0-9]-[0-3][0-9]" + END, description="YYYY-MM-DD")]
HexKey: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}" + END, description="32 bytes in hex")]
KeyId: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,8}" + END, description="at most 8 of a-z, 0-9, -")]
Epsilon: TypeAlias = Annotated[float, Meta(ge=1e-6, le=16)]  # below it odds cannot be told from a coin's
Category: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Percent: TypeAlias = Annotated[
    str, Meta(pattern=r"^(100|[0-9]{1,2}(\.[0-9]{1,2})?)%" + END, description="a share like 20% or 2.5%")
]
Slot: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(100|[0-9]{1,2}(\.[0-9]{1,2})?)%-(100|[0-9]{1,2}(\.[0-9]{1,2})?)%" + END,
        description="a stretch like 10%-30%",
    ),
]
Salt: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Label: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}" + END, description="a short label")]
ExperimentName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}" + END, description="lower case, digits, _ and -")
]
AttributeName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Uid: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 2)]
Logic: TypeAlias = dict[str, Any]  # JSONLogic, as flagd uses it


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """A mapping of the policy language; unknown keys are errors."""


def share(percent: str) -> float:
    """A `Percent` as a number between 0 and 1."""
    return float(percent[:-1]) / 100
