"""Which key may still be needed, and for how long; the next key's line in a policy source.

A report sealed on the last day of a key may arrive until lateness, spread and late horizon are
over. From then on its private half opens nothing that would be counted, only what somebody
recorded: destroying it is what keeps that closed (forward secrecy).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import yaml

from discreet_aggregator.policies import grace_seconds
from discreet_contract.envelope import encode_key_id
from discreet_contract.errors import ConfigError
from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import parse_policy_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nacl.public import PrivateKey

    from discreet_aggregator.policies import PolicyShelf
    from discreet_contract.policy.model import AggregatorKey


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One key: who names it, whether its private half is here, and when nothing sealed to it can count any more."""

    id: str
    public_key: str
    versions: tuple[int, ...]  # of policies that name it; () for a key that none names
    begins: str  # the earliest `from`, YYYY-MM-DD; "" where no policy names it
    ends: str  # the latest `until`
    over_at: int  # seconds; from then on it may be destroyed
    held: str  # "yes", "no", or "another" under the same id

    @property
    def retire_from(self) -> str:
        """The first whole day (UTC) on which it may be destroyed."""
        return (datetime.fromtimestamp(self.over_at - 1, UTC).date() + timedelta(days=1)).isoformat()


def key_uses(shelf: PolicyShelf, keys: Mapping[bytes, PrivateKey]) -> list[KeyUse]:
    """Every key that a policy on the shelf names or that is held here, by id."""
    named = defaultdict(list)
    for verified in shelf.values():
        for key in verified.policy.aggregator.keys:
            over_at = _midnight(key.until) + grace_seconds(verified.policy)
            named[key.id, key.public_key].append((verified.policy.version, key, over_at))
    for key_id, private in keys.items():
        named.setdefault((key_id.rstrip(b"\0").decode(), private.public_key.encode().hex()), [])
    return [_use(*who, uses, keys) for who, uses in sorted(named.items())]


def _use(
    key_id: str, public_key: str, uses: list[tuple[int, AggregatorKey, int]], keys: Mapping[bytes, PrivateKey]
) -> KeyUse:
    held = keys.get(encode_key_id(key_id))
    here = "no" if held is None else "yes" if held.public_key.encode().hex() == public_key else "another"
    return KeyUse(
        key_id,
        public_key,
        tuple(sorted(version for version, _, _ in uses)),
        min((key.from_ for _, key, _ in uses), default=""),
        max((key.until for _, key, _ in uses), default=""),
        max((over_at for _, _, over_at in uses), default=0),
        here,
    )


def check_retirement(key_id: str, uses: list[KeyUse], now_ms: int) -> None:
    """Raise ConfigError while a report that is sealed to this key might still count."""
    mine = [use for use in uses if use.id == key_id and use.held == "yes"]
    if not mine:
        raise ConfigError(f"no private key {key_id} here", hint="`discreet aggregator keys list` shows what is here")
    [use] = mine
    if not use.versions:
        raise ConfigError(
            f"no policy here names key {key_id}: it may be meant for the next one",
            hint="--force destroys it all the same",
        )
    if now_ms < use.over_at * 1000:
        raise ConfigError(
            f"reports sealed to key {key_id} may arrive and count until {use.retire_from}",
            hint="retire it then; --force destroys it now, and such reports are lost",
        )


def with_key(content: bytes, file: str, key: tuple[str, str, str, str]) -> bytes:
    """The policy source with one more aggregator key (id, public key, from, until); all else stays byte for byte.

    Raises PolicyError where the source, before or after, is no policy, ConfigError where the key is in it already.
    """
    key_id, public_key, begins, ends = key
    before = build_policy(parse_policy_text(content, file))
    if any(one.id == key_id for one in before.aggregator.keys):
        raise ConfigError(f"{file} has a key {key_id} already", hint="a key gets its days once: make another key")
    line = f'{{id: "{key_id}", public_key: "{public_key}", from: {begins}, until: {ends}}}'
    changed = _inserted(content.decode("utf-8"), line).encode()
    after = build_policy(parse_policy_text(changed, file))
    if after.aggregator.keys[:-1] != before.aggregator.keys or after.aggregator.keys[-1].id != key_id:
        raise ConfigError(f"{file}: cannot add a key to this form", hint=f"add it by hand: {line}")
    return changed


def _inserted(text: str, line: str) -> str:
    """`line` behind the last key: on a line of its own in a block, behind a comma in brackets."""
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    keys = _child(_child(document, "aggregator"), "keys")
    assert isinstance(keys, yaml.SequenceNode)  # noqa: S101 - it was read as a list of keys before
    last: yaml.MappingNode = keys.value[-1]
    at = last.end_mark.index
    if keys.flow_style:
        return f"{text[:at]}, {line}{text[at:]}"
    start = last.start_mark
    dash = text.rindex("-", 0, start.index)
    indent = " " * (dash - text.rfind("\n", 0, dash) - 1)
    if not last.flow_style:  # a block ends where the next thing begins: step back over blank lines and comments
        at = max(value.end_mark.index for _, value in last.value)
    end = text.find("\n", at)
    head, tail = (text, "") if end < 0 else (text[:end], text[end:])
    return f"{head}\n{indent}- {line}{tail}"


def _child(node: yaml.Node | None, name: str) -> yaml.Node:
    assert isinstance(node, yaml.MappingNode)  # noqa: S101 - it was read as a policy before
    found: yaml.Node = next(value for key, value in node.value if key.value == name)
    return found


def overlap(keys: tuple[AggregatorKey, ...], begins: str) -> str:
    """What the step from the former keys to one that begins on this day means. Raises ConfigError for a gap."""
    latest = max(keys, key=lambda key: (key.until, key.from_))
    if latest.until < begins:
        raise ConfigError(
            f"no key would be valid from {latest.until} to {begins}: devices would release nothing",
            hint=f"begin by --from {latest.until}, or earlier",
        )
    days = (date.fromisoformat(latest.until) - date.fromisoformat(begins)).days
    return f"key {latest.id} ends on {latest.until}: {days} day(s) of overlap, in which devices take the new one"


def _midnight(day: str) -> int:
    return round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
