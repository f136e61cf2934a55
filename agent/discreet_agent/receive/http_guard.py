"""Who may speak to the HTTP edge: checks of a request's head, before anything of its body is kept.

A page in a browser on this device can reach a loopback port, under a name of its own that it lets point to
127.0.0.1 (DNS rebinding). So only our own names may stand in `Host`, no other origin may ask, and where the
policy names senders, a token is wanted.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.receive.http_messages import HttpRefusal, RequestRefusedError
from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_agent.senders import Speaker

    Identify = Callable[[str | None], Speaker | None]
    """A token, or None where none was shown → who that is under the policy in force; None: nobody."""

_OWN_FETCH_SITES = ("same-origin", "none")  # what browsers say of a request that no other site made


@dataclass(frozen=True, slots=True)
class Address:
    """Where the edge listens: a loopback address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """What may stand in `Host`."""
        names = {str(self), *(f"{name}:{self.port}" for name in ("localhost", "127.0.0.1", "[::1]"))}
        if self.port == 80:  # which clients leave out
            names |= {name.removesuffix(":80") for name in names}
        return frozenset(names)

    @property
    def origins(self) -> frozenset[str]:
        """What may stand in `Origin`: our own pages, of which there are none yet."""
        return frozenset(f"http://{host}" for host in self.hosts)


def parse_address(text: str) -> Address:
    """`127.0.0.1:4318`, `[::1]:4318` or `localhost:4318`. Raises ConfigError for anything that is not loopback."""
    hint = 'set `http` to "127.0.0.1:4318", or to "" to switch it off'
    host, separator, port = text.rpartition(":")
    host = {"localhost": "127.0.0.1"}.get(host, host.removeprefix("[").removesuffix("]"))
    if not (separator and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ConfigError(f"`http` is {text!r}, which is no address and port", hint=hint)
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as exc:
        raise ConfigError(f"`http` is {text!r}, whose host is no IP address", hint=hint) from exc
    if not is_loopback:
        message = f"`http` is {text!r}: the agent listens on this machine's loopback only, because it speaks plain HTTP"
        raise ConfigError(message, hint=hint)
    return Address(host, int(port))


class Guard:
    """The checks of one edge. `identify` is asked anew each time, for the policy in force may change."""

    def __init__(self, address: Address, identify: Identify) -> None:
        self._hosts = address.hosts
        self._origins = address.origins
        self._identify = identify

    def admit(self, headers: dict[str, str]) -> Speaker:
        """Who asks. Raises RequestRefusedError."""
        if headers.get("host", "").lower() not in self._hosts:
            raise RequestRefusedError(HttpRefusal.FOREIGN_HOST, "`Host` is none of this agent's own names")
        if "origin" in headers and headers["origin"].lower() not in self._origins:
            raise RequestRefusedError(HttpRefusal.FOREIGN_ORIGIN, "`Origin` is another site's")
        if headers.get("sec-fetch-site", "none").lower() not in _OWN_FETCH_SITES:
            raise RequestRefusedError(HttpRefusal.FOREIGN_ORIGIN, "`Sec-Fetch-Site` says that another site asks")
        return self._speaker(headers)

    def _speaker(self, headers: dict[str, str]) -> Speaker:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        shown = token.strip() if scheme.lower() == "bearer" else None
        speaker = self._identify(shown)
        if speaker is not None:
            return speaker
        challenge = (("WWW-Authenticate", 'Bearer realm="discreet"'),)
        if shown is None:
            message = "the policy names senders; send `Authorization: Bearer <token>`"
            raise RequestRefusedError(HttpRefusal.NO_TOKEN, message, challenge)
        raise RequestRefusedError(HttpRefusal.UNKNOWN_TOKEN, "no sender of the policy has this token", challenge)
