"""The HTTP edge as the daemon has it: server, group commit, and the handlers of OTLP, OFREP and our own paths.

Imported only where `http` is configured: an agent without it loads no HTTP parser.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from discreet_agent.event import Refused
from discreet_agent.receive.group import GroupCommit
from discreet_agent.receive.http import HttpServer
from discreet_agent.receive.http_guard import parse_address
from discreet_agent.receive.ofrep import Ofrep
from discreet_agent.receive.ofrep_events import Changes
from discreet_agent.receive.otlp import Otlp
from discreet_agent.receive.personal_http import PersonalHttp
from discreet_agent.senders import Peer, Senders

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from discreet_agent.personal.apps import Apps
    from discreet_agent.receive.group import RecordGroup
    from discreet_agent.receive.http_messages import HttpRefusal, Route
    from discreet_agent.senders import Speaker
    from discreet_contract.policy.model import Policy


class HttpEdge:
    """Everything that is served over HTTP. `policy` gives the one in force, `record` stores a group.

    `apps` answers what apps ask; without it only events are taken.
    """

    def __init__(
        self,
        address: str,
        record: RecordGroup,
        policy: Callable[[], Policy],
        now_ms: Callable[[], int],
        apps: Apps | None = None,
    ) -> None:
        self.address = parse_address(address)
        self._policy = policy
        self._declared = policy().senders
        self._senders = Senders(self._declared, os.geteuid())
        self._group = GroupCommit(record)
        self._otlp = Otlp(self._group.commit, lambda: policy().signals, now_ms)
        self._server = HttpServer(self.address, (*self._otlp.routes(), *self._routes_of(apps)), self._identify)

    def _routes_of(self, apps: Apps | None) -> tuple[Route, ...]:
        if apps is None:
            return ()
        changes = Changes(apps, lambda: self._policy().senders)
        return (*Ofrep(apps, changes).routes(), *PersonalHttp(apps, self._group.commit).routes())

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

    def _identify(self, token: str | None) -> Speaker | None:
        declared = self._policy().senders
        if declared is not self._declared:
            self._declared, self._senders = declared, Senders(declared, os.geteuid())
        # User and group of the other end of a TCP connection are not known: the token is all there is.
        shown = "" if token is None else hashlib.sha256(token.encode()).hexdigest()
        speaker = self._senders.identify(Peer(token_sha256=shown))
        return None if isinstance(speaker, Refused) else speaker
