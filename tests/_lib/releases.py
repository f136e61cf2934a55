"""A fleet's transparency log, and what it delivers to devices."""

import json
from pathlib import Path

from device_bench import ROOT, START, make_signed
from discreet_contract.policy.bundle import make_bundle
from discreet_contract.policy.log import PolicyLog

DAY_MS = 86_400_000


class Releases:
    """A log of test policies. Two of them under one root are a split view."""

    def __init__(self, folder: Path, key=ROOT):
        self.key = key
        self.log = PolicyLog.open(folder)

    @property
    def root(self) -> str:
        """The root that signs now, in hex."""
        return self.key.verify_key.encode().hex()

    def release(self, **changes) -> bytes:
        """Append the next version; returns its bundle. Each head is a day later than the one before."""
        version = len(self.log.entries) + 1
        signed = make_signed(self.key, **({"version": version} | changes))
        self.log = self.log.append(signed, [self.key], START * 1000 + version * DAY_MS)
        return self.bundle()

    def bundle(self, earliest: int | None = None) -> bytes:
        """The newest release as it is delivered."""
        return make_bundle(self.log, earliest=earliest)

    def outer(self) -> dict:
        """The same as builtins, to be spoilt."""
        return json.loads(self.bundle())
