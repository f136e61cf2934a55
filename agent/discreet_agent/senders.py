"""Who may speak, and about what: compiled once from the policy's `senders`.

A peer comes in as its edge knows it (user and groups from the kernel, the digest of a token that it showed); out
comes a speaker or a refusal. Where the policy declares no senders, whoever can open the edge may emit every signal
and read everything that apps may read. What a speaker may not read does not exist for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from discreet_agent.event import EventLine, EventRefusal, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from discreet_agent.event import Received
    from discreet_contract.policy.operation import Sender

ROOT = 0

_UNKNOWN = Refused(
    EventRefusal.SENDER_UNKNOWN, "the policy's senders name neither this user, nor a group of it, nor the token shown"
)
_NOT_ALLOWED = Refused(EventRefusal.SIGNAL_NOT_ALLOWED, "the policy does not list this signal for this sender")


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known of the other end. `token_sha256` is empty where no token was shown."""

    uid: int | None = None
    groups: frozenset[int] = frozenset()
    token_sha256: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks: its name under `senders` ("" where none names it), and what it may emit and read (None: everything).

    Whoever makes one without saying what it may read makes one that reads nothing.
    """

    name: str
    signals: frozenset[str] | None
    features: frozenset[str] | None = frozenset()
    segments: frozenset[str] | None = frozenset()
    flags: frozenset[str] | None = frozenset()

    def may_send(self, signal: str) -> bool:
        """Whether it may emit this signal."""
        return self.signals is None or signal in self.signals

    def may_read_feature(self, name: str) -> bool:
        """Whether this feature exists for it."""
        return self.features is None or name in self.features

    def may_read_segment(self, name: str) -> bool:
        """Whether this segment exists for it."""
        return self.segments is None or name in self.segments

    def may_read_flag(self, key: str) -> bool:
        """Whether this flag exists for it."""
        return self.flags is None or key in self.flags


ANYONE = Speaker("", None, None, None, None)  # where the policy names no senders


class Senders:
    """One policy's senders. A sender is everyone who meets all that its entry states: user, group, token.

    Who meets several entries is the one that asks for most: a token before a user before a group before nothing,
    then the first by name. Root and the agent's own user, where no entry states them, may emit and read everything.
    """

    def __init__(self, senders: Mapping[str, Sender], own_uid: int) -> None:
        self._own_uid = own_uid
        in_order = sorted(senders.items(), key=_asks_most_first)
        self._named = [entry for entry in in_order if not _is_anybody(entry[1])]
        self._anybody = next((_speaker(*entry) for entry in in_order if _is_anybody(entry[1])), _UNKNOWN)
        self._are_declared = bool(senders)

    def identify(self, peer: Peer) -> Speaker | Refused:
        """Who this peer is. A token that no sender has is refused whoever shows it, so that a mistake is seen."""
        if not self._are_declared:
            return ANYONE
        for name, sender in self._named:
            if _meets(sender, peer):
                return _speaker(name, sender)
        if peer.token_sha256:
            return _UNKNOWN
        return ANYONE if self.is_owner(peer) else self._anybody

    def is_owner(self, peer: Peer) -> bool:
        """Whether it may ask about the agent itself: root and the agent's own user, who can read its files too."""
        return peer.uid in {ROOT, self._own_uid}


def screen(speaker: Speaker | Refused, items: Sequence[Received]) -> Sequence[Received]:
    """What a sender said, with all that it may not say refused in its place."""
    if isinstance(speaker, Refused):
        return [speaker] * len(items)
    if speaker.signals is None:
        return items
    allowed = speaker.signals
    return [_NOT_ALLOWED if isinstance(item, EventLine) and item.signal not in allowed else item for item in items]


def _speaker(name: str, sender: Sender) -> Speaker:
    return Speaker(
        name,
        frozenset(sender.signals),
        features=frozenset(sender.features),
        segments=frozenset(sender.segments),
        flags=frozenset(sender.flags),
    )


def _meets(sender: Sender, peer: Peer) -> bool:
    """All that the entry states. Digests are compared plainly: how far two agree says nothing of the token."""
    if sender.token_sha256 is None and peer.token_sha256:
        return False  # who shows a token is taken by it or not at all
    return (
        (sender.token_sha256 is None or sender.token_sha256 == peer.token_sha256)
        and (sender.uid is None or sender.uid == peer.uid)
        and (sender.gid is None or sender.gid in peer.groups)
    )


def _is_anybody(sender: Sender) -> bool:
    return sender.token_sha256 is None and sender.uid is None and sender.gid is None


def _asks_most_first(entry: tuple[str, Sender]) -> tuple[bool, bool, bool, str]:
    name, sender = entry
    return sender.token_sha256 is None, sender.uid is None, sender.gid is None, name
