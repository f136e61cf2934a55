"""Where the broker is and how a client connects to it. paho-mqtt is met only here and in the two links."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

import msgspec

from discreet_contract.broker_secrets import CREDENTIAL, read_password, tls_context
from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from discreet_contract.bounded_client import BoundedClient

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
KEEPALIVE_SECONDS = 30
LARGEST_MESSAGE_BYTES = 2**28  # that MQTT can say
FILES = ("password_file", "ca_file", "cert_file", "key_file")


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[broker]` of a configuration file. `url` is mqtt://host:port or mqtts://host:port."""

    url: str
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    allow_plaintext: bool = False
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    client_id: str = ""
    reconnect_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0

    @property
    def host(self) -> str:
        """Host part of the URL."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Port of the URL, else MQTT's own for its scheme."""
        return urlsplit(self.url).port or (8883 if self.is_tls else 1883)

    @property
    def is_tls(self) -> bool:
        """Whether the URL asks for TLS."""
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def is_loopback(self) -> bool:
        """Whether messages stay on this machine."""
        return self.host in LOOPBACK

    def anchored(self, folder: Path) -> Self:
        """The same with every file's relative path made absolute: it counts from the configuration's folder."""
        named = {name: getattr(self, name) for name in FILES}
        paths = {name: file for name, file in named.items() if file and not file.startswith(CREDENTIAL)}
        return msgspec.structs.replace(self, **{name: str(folder / file) for name, file in paths.items()})

    def check(self) -> None:
        """Raise ConfigError with the next step if this cannot work or would send over a network in the clear."""
        if "@" in self.url:
            raise ConfigError("a broker url carries no credentials", hint="use `username` and `password_file`")
        if not self._is_url():
            raise ConfigError(
                f"broker url {self.url!r} is not mqtt://host:port", hint="for example mqtt://127.0.0.1:1883"
            )
        if not self.is_tls and not self.is_loopback and not self.allow_plaintext:
            raise ConfigError(
                f"broker {self.host} is not this machine and the url is not mqtts://",
                hint="use mqtts://, or set allow_plaintext = true on a network you trust",
            )

    def _is_url(self) -> bool:
        try:
            parts = urlsplit(self.url)
            return parts.scheme in {"mqtt", "mqtts"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no port, brackets that do not close
            return False


def new_client(
    broker: Broker,
    client_id: str,
    *,
    reconnect_on_failure: bool = True,
    version: int = 0,
    clean: bool | None = None,
    most_bytes: int = LARGEST_MESSAGE_BYTES,
) -> BoundedClient:
    """A client with manual acknowledgement, credentials and TLS set, not yet connected.

    `version` is MQTT's protocol level: 5, or 4 for 3.1.1; 0 takes the one that `protocol` names, 5 for auto.
    `clean` matters to 3.1.1 only, which has no property for it: whether the broker forgets the session.
    A message of more than `most_bytes` ends the connection unread.
    """
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    from discreet_contract.bounded_client import BoundedClient

    broker.check()
    level = version or (4 if broker.protocol == "3.1.1" else 5)
    client = BoundedClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=(True if clean is None else clean) if level == 4 else None,
        protocol=MQTTProtocolVersion(level),
        manual_ack=True,
        reconnect_on_failure=reconnect_on_failure,
        most_bytes=most_bytes,
    )
    if broker.username:
        client.username_pw_set(broker.username, read_password(broker.password_file))
    if broker.is_tls:
        client.tls_set_context(tls_context(broker.ca_file, broker.cert_file, broker.key_file))
    return client


def backoff_seconds(attempt: int, *, cap: float = 60.0) -> float:
    """Full jitter: uniform in (0, min(cap, 2^attempt · ½ s))."""
    return secrets.SystemRandom().uniform(0.05, min(cap, 0.5 * 2 ** min(attempt, 16)))
