"""What may change under a running worker: the policies on its shelf, and the private keys it holds.

Both are looked at now and then and loaded anew where they changed. What cannot be loaded changes
nothing: the former policies and keys stay, and the log says once why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from discreet_contract.envelope import encode_key_id
from discreet_contract.errors import DiscreetError

if TYPE_CHECKING:
    from discreet_aggregator.keys import KeyFolder
    from discreet_aggregator.pipeline import Pipeline
    from discreet_aggregator.policies import PolicyFiles

_log = structlog.get_logger()


class Watch:
    """The last good shelf and the last good keys. Raises ConfigError or SignatureRefusedError where there are none."""

    def __init__(self, files: PolicyFiles, folder: KeyFolder) -> None:
        self._files = files
        self._folder = folder
        self.shelf = files.load()
        self.keys = folder.load()
        self._troubles: dict[str, str] = {}  # what is wrong with the policies and with the keys, said once
        self._warn_of_closed_envelopes()

    def look(self, pipeline: Pipeline) -> None:
        """Hand on what changed: a copy that is still under way is tried again."""
        if self._load_policies(pipeline) | self._load_keys(pipeline):
            self._warn_of_closed_envelopes()

    def _load_policies(self, pipeline: Pipeline) -> bool:
        if not self._files.have_changed():
            return False
        try:
            self.shelf = self._files.load()
        except DiscreetError as exc:
            self._complain("policies", exc, pipeline)
            return False
        self._troubles.pop("policies", None)
        pipeline.use(self.shelf)
        _log.info("policies loaded", policies=len(self.shelf))
        return True

    def _load_keys(self, pipeline: Pipeline) -> bool:
        if not self._folder.have_changed():
            if self._troubles.pop("keys", None):  # the folder is again as it was when it was loaded last
                _log.info("keys as before", keys=len(self.keys))
            return False
        try:
            self.keys = self._folder.load()
        except DiscreetError as exc:
            self._complain("keys", exc, pipeline)
            return False
        self._troubles.pop("keys", None)
        pipeline.use_keys(self.keys)
        _log.info("keys loaded", keys=len(self.keys))
        return True

    def _complain(self, what: str, exc: DiscreetError, pipeline: Pipeline) -> None:
        if str(exc) == self._troubles.get(what):
            return
        self._troubles[what] = str(exc)
        pipeline.totals[f"{what}_not_loaded"] += 1
        _log.error(f"{what} not loaded, the former ones stay", problem=str(exc), next_step=exc.hint)

    def _warn_of_closed_envelopes(self) -> None:
        """A policy that seals to a key we do not hold is legal (keys are rotated), but seldom meant."""
        declared = {(key.id, key.public_key) for policy in self.shelf.values() for key in policy.policy.aggregator.keys}
        for key_id, public_key in sorted(declared):
            held = self.keys.get(encode_key_id(key_id))
            if held is None:
                _log.warning(
                    "key missing", key_id=key_id, hint="envelopes sealed to it wait until its file is in keys_dir"
                )
            elif held.public_key.encode().hex() != public_key:
                _log.warning("key differs", key_id=key_id, hint="the policy names another public key under this id")
