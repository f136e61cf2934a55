"""Password, certificates and keys of a broker connection: from files, or from systemd's credentials.

`credential:NAME` in place of a path is the file NAME in `$CREDENTIALS_DIRECTORY`, which systemd hands to one
service and to nobody else. What cannot be used is a ConfigError with the next step.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from discreet_contract.errors import ConfigError

CREDENTIAL = "credential:"
_HINT = "name PEM files that this user can read"


def find_file(named: str) -> Path:
    """The path that a setting names. Raises ConfigError where it names a credential that systemd did not give."""
    if not named.startswith(CREDENTIAL):
        return Path(named)
    name, folder = named.removeprefix(CREDENTIAL), os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not name or "/" in name or name.startswith("."):
        raise ConfigError(f"{named!r} names no credential", hint=f"write {CREDENTIAL}NAME, as in LoadCredential=NAME:…")
    if not folder:
        raise ConfigError(
            f"{named}: there are no credentials here: $CREDENTIALS_DIRECTORY is not set",
            hint=f"add LoadCredential={name}:/path/of/the/file to the unit, and start it with systemctl",
        )
    return Path(folder) / name


def read_password(named: str) -> str:
    """The password in a file, without its line end; "" where none is named. Raises ConfigError."""
    if not named:
        return ""
    try:
        return find_file(named).read_text(encoding="utf-8").strip()
    except OSError as exc:
        message = f"{named}: cannot read the broker password: {exc.strerror}"
        raise ConfigError(message, hint="name a file in `password_file` that this user can read") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{named}: the broker password is no UTF-8 text", hint="write it as text") from exc


def tls_context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """TLS 1.2 or newer; the broker's certificate and name are checked. Raises ConfigError.

    `ca_file` may hold the broker's own certificate: then that one is pinned, and no authority believed.
    """
    try:
        context = ssl.create_default_context(cafile=str(find_file(ca_file)) if ca_file else None)
    except OSError as exc:
        raise ConfigError(f"{ca_file}: cannot read `ca_file`: {exc.strerror or exc}", hint=_HINT) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if cert_file:
        _show(context, cert_file, key_file)
    return context


def _show(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    """Have our own certificate shown to a broker that asks for one."""
    certificate, key = find_file(cert_file), find_file(key_file or cert_file)
    try:
        if key.stat().st_mode & 0o007:
            hint = f"chmod 600 {key}, and make a new key: others may have read this one"
            raise ConfigError(f"{key}: every user of this machine may open the private key", hint=hint)
        context.load_cert_chain(certificate, key, password=lambda: _refuse_sealed(key))
    except OSError as exc:
        files = f"{cert_file}, {key_file or 'no key_file'}"
        raise ConfigError(f"{files}: cannot read the certificate: {exc.strerror or exc}", hint=_HINT) from exc


def _refuse_sealed(key: Path) -> str:
    """Asked for a passphrase, where OpenSSL would ask the terminal: a daemon has nobody to answer."""
    hint = f"take the passphrase off: openssl pkey -in {key} -out NEW, chmod 600 NEW; or hand it over as a credential"
    raise ConfigError(f"{key}: the private key is behind a passphrase", hint=hint)
