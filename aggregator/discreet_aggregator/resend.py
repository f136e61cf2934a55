"""A request to send again, under the key that the newest policy seals to today: every device knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_aggregator.beacon import signing_key
from discreet_contract.errors import ConfigError
from discreet_contract.resend import make_resend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nacl.public import PrivateKey

    from discreet_aggregator.policies import PolicyShelf
    from discreet_contract.resend import Resend


def signed_request(shelf: PolicyShelf, keys: Mapping[bytes, PrivateKey], fleet: str, asked: Resend) -> bytes:
    """The request as devices read it. Raises ConfigError where no key that is valid today is held here."""
    found = signing_key(shelf, keys, asked.time_ms)
    if found is None:
        hint = "put the private key of one that the newest policy names for today into `keys_dir`"
        raise ConfigError("no key is held here that devices would believe today", hint=hint)
    key_id, key = found
    return make_resend(fleet, asked, key_id, key)
