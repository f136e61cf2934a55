"""Whether this device may record and send anything at all (P6).

The owner's word is one small file, written by `discreet agent on|off`, read by the daemon
before every commit and every publication. It remembers what it was given to: a policy that
collects more sensitive signals or raises a cap pauses until it is given again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from discreet_contract.accounting import cap_to_nano
from discreet_contract.errors import RetryableError, StoreError
from discreet_contract.files import write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from discreet_contract.policy.model import Policy

_RANKS = ("technical", "interaction", "sensitive")


class PrivacyClass(msgspec.Struct, frozen=True):
    """What a policy may do at the most: its most sensitive signal and its three caps in nano-ε."""

    sensitivity: int
    per_28_days: int
    per_365_days: int
    lifetime: int

    def covers(self, other: PrivacyClass) -> bool:
        """Whether `other` asks for nothing beyond this."""
        return all(getattr(other, name) <= getattr(self, name) for name in self.__struct_fields__)


class Word(msgspec.Struct, frozen=True):
    """What the owner said, when, and to what."""

    state: Literal["on", "off"]
    at_ms: int
    given_to: PrivacyClass | None = None
    refused_ms: int = 0  # of a yes: when the latest no was said before it; 0: never


def privacy_class(policy: Policy) -> PrivacyClass:
    """A policy's privacy class."""
    return PrivacyClass(
        max(_RANKS.index(signal.sensitivity) for signal in policy.signals.values()),
        cap_to_nano(policy.budget.per_28_days),
        cap_to_nano(policy.budget.per_365_days),
        cap_to_nano(policy.budget.lifetime),
    )


def write_word(state_dir: Path, word: Word) -> None:
    """Make the owner's word durable."""
    write_durably(state_dir / "consent.json", msgspec.json.encode(word))


class Consent:
    """The owner's word as it stands in the file now; one `stat` a question."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir
        self._path = state_dir / "consent.json"
        self._stamp: tuple[int, int] | None = None
        self._word: Word | None = None

    def word(self) -> Word | None:
        """The latest word, or None if none was ever said. An unreadable file counts as a loud error, never as yes."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._word = msgspec.json.decode(self._path.read_bytes(), type=Word)
                self._stamp = stamp
        except FileNotFoundError:
            self._stamp, self._word = None, None
        except OSError as exc:
            raise RetryableError(f"{self._path} cannot be read: {exc.strerror}", hint="look at the disk") from exc
        except msgspec.MsgspecError as exc:
            raise StoreError(f"{self._path} cannot be read", hint="say `discreet agent on` or `off` again") from exc
        return self._word

    def refusal(self, policy: Policy) -> str | None:
        """Why nothing may happen under this policy, or None where it may."""
        word = self.word()
        if word is None:
            return None if policy.consent != "opt-in" else "consent was never given; give it with `discreet agent on`"
        if word.state == "off":
            return "switched off by the owner; switch on with `discreet agent on`"
        if word.given_to is not None and not word.given_to.covers(privacy_class(policy)):
            return "the policy now asks for more than consent was given to; look at it, then say `discreet agent on`"
        return None

    def is_paused(self, policy: Policy) -> bool:
        """Whether the owner said yes, but to less than this policy asks for: then only a new policy is listened for."""
        word = self.word()
        return word is not None and word.state == "on" and self.refusal(policy) is not None

    def refused_ms(self) -> int:
        """When the owner last said no, also where it was taken back; 0: never. Names a stretch of consent."""
        word = self.word()
        if word is None:
            return 0
        return word.refused_ms if word.state == "on" else word.at_ms

    def since_ms(self) -> int:
        """When the present consent was given; 0 where it stands by default."""
        word = self.word()
        return word.at_ms if word is not None and word.state == "on" else 0
