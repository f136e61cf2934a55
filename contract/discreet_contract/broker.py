"""Where the broker is and how a client connects to it. paho-mqtt is met only here and in the two links."""

from __future__ import annotations

import secrets
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import msgspec

from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from paho.mqtt.client import Client

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
KEEPALIVE_SECONDS = 30


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[broker]` of a configuration file. `url` is mqtt://host:port or mqtts://host:port."""

    url: str
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    allow_plaintext: bool = False

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
        named = {name: getattr(self, name) for name in ("password_file", "ca_file", "cert_file", "key_file")}
        return msgspec.structs.replace(self, **{name: str(folder / file) for name, file in named.items() if file})

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


def new_client(broker: Broker, client_id: str, *, reconnect_on_failure: bool = True) -> Client:
    """An MQTT 5 client with manual acknowledgement, credentials and TLS set, not yet connected."""
    from paho.mqtt.client import Client, MQTTv5
    from paho.mqtt.enums import CallbackAPIVersion

    broker.check()
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTv5,
        manual_ack=True,
        reconnect_on_failure=reconnect_on_failure,
    )
    if broker.username:
        client.username_pw_set(broker.username, _password(broker))
    if broker.is_tls:
        client.tls_set_context(_tls_context(broker))
    return client


def backoff_seconds(attempt: int, *, cap: float = 60.0) -> float:
    """Full jitter: uniform in (0, min(cap, 2^attempt · ½ s))."""
    return secrets.SystemRandom().uniform(0.05, min(cap, 0.5 * 2 ** min(attempt, 16)))


def _tls_context(broker: Broker) -> ssl.SSLContext:
    hint = "name PEM files that this user can read"
    try:
        context = ssl.create_default_context(cafile=broker.ca_file or None)
    except OSError as exc:
        raise ConfigError(f"{broker.ca_file}: cannot read `ca_file`: {exc.strerror or exc}", hint=hint) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not broker.cert_file:
        return context
    try:
        context.load_cert_chain(broker.cert_file, broker.key_file or None)
    except OSError as exc:
        files = f"{broker.cert_file}, {broker.key_file or 'no key_file'}"
        raise ConfigError(f"{files}: cannot read the certificate: {exc.strerror or exc}", hint=hint) from exc
    return context


def _password(broker: Broker) -> str:
    if not broker.password_file:
        return ""
    try:
        return Path(broker.password_file).read_text(encoding="utf-8").strip()
    except OSError as exc:
        message = f"{broker.password_file}: cannot read the broker password: {exc.strerror}"
        raise ConfigError(message, hint="name a file in `password_file` that this user can read") from exc
