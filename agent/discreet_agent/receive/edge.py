"""The HTTP edge as the daemon has it: server, group commit and OTLP's handlers put together.

Imported only where `http` is configured: an agent without it loads no HTTP parser.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from discreet_agent.receive.group import GroupCommit
from discreet_agent.receive.http import HttpServer
from discreet_agent.receive.http_guard import parse_address
from discreet_agent.receive.otlp import Otlp

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from discreet_agent.receive.group import RecordGroup
    from discreet_agent.receive.http_messages import HttpRefusal
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.operation import Sender


class HttpEdge:
    """Everything that is served over HTTP. `policy` gives the one in force, `record` stores a group."""

    def __init__(
        self, address: str, record: RecordGroup, policy: Callable[[], Policy], now_ms: Callable[[], int]
    ) -> None:
        self.address = parse_address(address)
        self._group = GroupCommit(record)
        self._otlp = Otlp(self._group.commit, lambda: policy().signals, now_ms)
        self._server = HttpServer(
            self.address, self._otlp.routes(), lambda token: identify_token(policy().senders, token)
        )

    @property
    def uncounted(self) -> Counter[HttpRefusal]:
        """Requests refused since somebody last cleared this."""
        return self._server.refused

    async def start(self) -> None:
        """Listen. Raises ConfigError."""
        await self._server.start()

    async def close(self) -> None:
        """Commit and answer what was received, then stop listening."""
        self._group.flush()
        await self._server.close()

    def begin_anew(self) -> None:
        """Forget where counters stood: what they count while the owner says no is never recorded."""
        self._otlp.begin_anew()


def identify_token(senders: Mapping[str, Sender], token: str | None) -> str | None:
    """The sender that a token names; "" where the policy names no senders at all; None: nobody."""
    if not senders:
        return ""
    shown = "" if token is None else hashlib.sha256(token.encode("utf-8")).hexdigest()
    found = None
    for name, sender in senders.items():  # all of them, so that the time taken tells nothing
        if sender.token_sha256 is not None and hmac.compare_digest(sender.token_sha256, shown):
            found = name
        elif found is None and sender.token_sha256 is None and sender.uid is None and sender.gid is None:
            found = name  # the policy says of this one that anybody is it
    return found
