"""When a device connects again, in which version of MQTT, and what to tell its operator when that fails.

In come the ends of connections, out come waits with full jitter. A whole fleet that loses its broker in one second
comes back over `first_seconds`, not in one second; a broker that accepts and drops at once resets nothing.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from discreet_contract.broker import backoff_seconds

if TYPE_CHECKING:
    from discreet_contract.broker import Broker

STEADY_SECONDS = 60.0  # a connection that lasted so long was one; the next wait is a first one again
CAP_SECONDS = 60.0
FIRST_SECONDS, FIRST_SECONDS_LOOPBACK = 15.0, 0.5
AGAIN_SECONDS = 6 * 3600.0  # how long 3.1.1 is taken for all that this broker speaks

_CERTIFICATE_TROUBLE = {
    9: ("its certificate is not valid yet", "check this machine's clock, and the certificate's dates"),
    10: ("its certificate has expired", "renew the broker's certificate; check this machine's clock"),
    18: ("its certificate is self-signed and not the one in `ca_file`", "put that certificate itself into `ca_file`"),
    19: ("its certificate comes from an unknown authority", "name that authority's certificate in `ca_file`"),
    20: ("its certificate comes from an unknown authority", "name that authority's certificate in `ca_file`"),
    21: ("its certificate comes from an unknown authority", "name that authority's certificate in `ca_file`"),
    62: ("its certificate is for another host name", "use the name in the certificate in `url`"),
    64: ("its certificate is for another address", "use the name in the certificate in `url`"),
}
_ALERTS = (
    ("CERTIFICATE_REQUIRED", "it demands a client certificate", "set `cert_file` and `key_file`"),
    (
        "HANDSHAKE_FAILURE",
        "it ends the handshake",
        "does it demand a client certificate? Set `cert_file` and `key_file`",
    ),
    ("UNKNOWN_CA", "it does not know who signed our certificate", "have `cert_file` signed by the broker's authority"),
    ("CERTIFICATE_EXPIRED", "our certificate has expired", "renew `cert_file`"),
    ("UNSUPPORTED_PROTOCOL", "it offers nothing newer than TLS 1.1", "enable TLS 1.2 or 1.3 at the broker"),
    ("PROTOCOL_VERSION", "it offers nothing newer than TLS 1.1", "enable TLS 1.2 or 1.3 at the broker"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS on this port", "check the port in `url`"),
)


@dataclass(slots=True)
class Waits:
    """Full jitter between connections. The ceiling doubles from `first_seconds` to a minute."""

    first_seconds: float
    attempt: int = 0

    @classmethod
    def of(cls, broker: Broker) -> Waits:
        """As configured; without a word of it, a network is spared more than this machine."""
        usual = FIRST_SECONDS_LOOPBACK if broker.is_loopback else FIRST_SECONDS
        return cls(broker.reconnect_seconds or usual)

    def after(self, lasted_seconds: float) -> float:
        """Seconds to wait after a connection that lasted so long; 0: there was none."""
        if lasted_seconds >= STEADY_SECONDS:
            self.attempt = 0
        ceiling = min(max(CAP_SECONDS, self.first_seconds), self.first_seconds * 2 ** min(self.attempt, 16))
        self.attempt += 1
        return backoff_seconds(16, cap=ceiling)


@dataclass(slots=True)
class Dialect:
    """Which version of MQTT the next CONNECT speaks: 5, or 4 for 3.1.1.

    On `auto` a broker that refuses version 5, or hangs up on it, is asked in 3.1.1; hung up on again, in 5. What it
    took is kept for the process, 3.1.1 for six hours. One that took version 5 before is asked in 3.1.1 only if it says
    so: a broker that is being restarted hangs up, too. Who can make a first connection fail can bring a device down to
    3.1.1: that costs expiry dates and reasons of refusals, and no protection.
    """

    protocol: str
    version: int = field(init=False)
    _until: float = 0.0
    _took_five: bool = False

    def __post_init__(self) -> None:
        self.version = 4 if self.protocol == "3.1.1" else 5

    def choose(self, now_seconds: float) -> int:
        """The version to speak now; time is monotonic."""
        if self.protocol == "auto" and self._until and now_seconds >= self._until:
            self.version, self._until = 5, 0.0
        return self.version

    def accepted(self, now_seconds: float) -> None:
        """The broker took the connection."""
        self._took_five = self._took_five or self.version == 5
        if self.version == 4 and not self._until:
            self._until = now_seconds + AGAIN_SECONDS

    def not_understood(self, *, is_said: bool) -> bool:
        """It said that it does not know the version, or hung up without an answer; whether another is spoken next."""
        if self.protocol != "auto" or (self._took_five and self.version == 5 and not is_said):
            return False
        self.version, self._until = (4 if self.version == 5 else 5), 0.0
        return True


def explain_failure(exc: Exception) -> tuple[str, str]:
    """What went wrong on the way to the broker, and the next step."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        known = _CERTIFICATE_TROUBLE.get(exc.verify_code)
        return known or (f"its certificate is not accepted: {exc.verify_message}", "check `ca_file`")
    said = explain_alert(str(exc)) if isinstance(exc, ssl.SSLError) else None
    if said is not None:
        return said
    return str(getattr(exc, "strerror", None) or exc), "is the broker running, and `[broker] url` right?"


def explain_hang_up(broker: Broker) -> tuple[str, str]:
    """The same for a broker that ends a connection without an answer: so Mosquitto refuses certificates in TLS 1.3."""
    problem = "the broker hangs up without an answer"
    if not broker.is_tls:
        return problem, "see the broker's log"
    if not broker.cert_file:
        return f"{problem}; does it demand a client certificate?", "set `cert_file` and `key_file`, or see its log"
    return (
        f"{problem}; does it refuse our certificate?",
        "have `cert_file` signed by the broker's authority, or see its log",
    )


def explain_alert(text: str) -> tuple[str, str] | None:
    """The same for a TLS alert in OpenSSL's own words; None: it is none that we know."""
    flat = text.upper().replace(" ", "_")
    return next(((problem, step) for word, problem, step in _ALERTS if word in flat), None)
