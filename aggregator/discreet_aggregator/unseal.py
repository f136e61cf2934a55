"""Envelope → report. The first stage; no input whatever makes it raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_aggregator.refusal import RefusalReason
from discreet_contract import envelope as envelopes
from discreet_contract.envelope import EnvelopeRefusedError
from discreet_contract.wire import MalformedError, decode_report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nacl.public import PrivateKey

    from discreet_contract.wire import Report

# The contract names the check by its rule; a rule that is not listed here fails the tests.
_RULES = {
    "SIZE": RefusalReason.SIZE,
    "MAGIC": RefusalReason.MAGIC,
    "KEY_UNKNOWN": RefusalReason.KEY_UNKNOWN,
    "UNOPENABLE": RefusalReason.UNOPENABLE,
}


def unseal(envelope: bytes, keys: Mapping[bytes, PrivateKey]) -> Report | RefusalReason:
    """The report inside, or why there is none; `keys` by encoded key id."""
    try:
        return decode_report(envelopes.unseal(envelope, keys))
    except EnvelopeRefusedError as exc:
        return _RULES[exc.rule]
    except MalformedError:
        return RefusalReason.MALFORMED
