"""What the aggregator says about the time: a beacon under the key that the newest policy seals to today."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from discreet_contract.beacon import make_beacon
from discreet_contract.envelope import encode_key_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nacl.public import PrivateKey

    from discreet_aggregator.policies import PolicyShelf


def beacon_now(shelf: PolicyShelf, keys: Mapping[bytes, PrivateKey], fleet: str, now_ms: int) -> bytes | None:
    """A signed time; None where no policy names a key that is valid today and held here."""
    found = signing_key(shelf, keys, now_ms)
    return None if found is None else make_beacon(fleet, now_ms, *found)


def signing_key(shelf: PolicyShelf, keys: Mapping[bytes, PrivateKey], now_ms: int) -> tuple[str, PrivateKey] | None:
    """Id and private half of a key that the newest policy names for today and that is held here."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
    newest_first = sorted(shelf.values(), key=lambda policy: policy.policy.version, reverse=True)
    for policy in newest_first:
        for key in policy.policy.aggregator.keys:
            held = keys.get(encode_key_id(key.id))
            is_valid = key.from_ <= today < key.until
            if held is not None and is_valid and held.public_key.encode().hex() == key.public_key:
                return key.id, held
    return None
