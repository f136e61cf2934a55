"""TLS to a real Mosquitto: whom a device believes, whom the broker lets in, and what the operator is told."""

import os
import socket
import ssl
import subprocess
import threading
import warnings
from contextlib import suppress

import pytest

from brokers import Authority, mosquitto, wait_for
from discreet_agent.link import MqttLink
from discreet_contract.broker import Broker, new_client
from discreet_contract.errors import ConfigError
from discreet_contract.wire import reports_topic
from documents import ROOT

# paho leaves a socket whose handshake failed to Python's reference counting, which closes it at once.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SHIPPED = ROOT / "deploy" / "server"
CREDENTIAL = "credential:broker-password"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Ours, a foreign authority, and the certificates that the tests need."""
    folder = tmp_path_factory.mktemp("pki")
    ours, foreign = Authority(folder, "ours"), Authority(folder, "foreign")
    ours.sign("broker")
    ours.sign("expired", days="-1")
    ours.sign("device")
    ours.sign("server", subject="aggregator")
    foreign.sign("stranger")
    return folder


def listener(pki, certificate="broker", more="allow_anonymous true"):
    return f"cafile {pki}/ours.crt\ncertfile {pki}/{certificate}.crt\nkeyfile {pki}/{certificate}.key\n{more}"


@pytest.fixture(scope="module")
def plain_tls(pki, tmp_path_factory):
    """A broker that shows a good certificate and asks for none."""
    with mosquitto(tmp_path_factory.mktemp("plain"), listener(pki)) as port:
        yield port


@pytest.fixture(scope="module")
def mutual_tls(pki, tmp_path_factory):
    """One that lets nobody in without a certificate of ours."""
    with mosquitto(
        tmp_path_factory.mktemp("mutual"), listener(pki, more="require_certificate true\nuse_identity_as_username true")
    ) as port:
        yield port


def outcome(url, **settings):
    """What becomes of a device's connection: "" or the trouble."""
    with MqttLink(Broker(url, **settings), "flights", lambda _message: None) as link:
        wait_for(lambda: link.connected or link.trouble, "an outcome")
        return link.trouble


@pytest.mark.parametrize("pinned", ["ours", "broker"], ids=["authority", "the certificate itself"])
def test_a_broker_whose_certificate_is_known_is_believed(pki, plain_tls, pinned):
    """By its authority, or because it is the very certificate that `ca_file` holds."""
    assert outcome(f"mqtts://localhost:{plain_tls}", ca_file=f"{pki}/{pinned}.crt") == ""


@pytest.mark.parametrize(
    ("host", "ca", "said"),
    [
        ("localhost", "foreign", "unknown authority"),
        ("localhost", "", "unknown authority"),
        ("localhost", "device", "unknown authority"),
        ("127.0.0.1", "ours", "is for another address"),
    ],
)
def test_a_broker_that_may_be_another_is_not_believed(pki, plain_tls, host, ca, said):
    """Nothing is sent to it, and the reason is said."""
    assert said in outcome(f"mqtts://{host}:{plain_tls}", ca_file=f"{pki}/{ca}.crt" if ca else "")


def test_an_expired_certificate_is_refused_by_name(pki, tmp_path):
    """It is the broker's to renew."""
    with mosquitto(tmp_path, listener(pki, "expired")) as port:
        assert "has expired" in outcome(f"mqtts://localhost:{port}", ca_file=f"{pki}/ours.crt")


def old_context(purpose):
    context = ssl.SSLContext(purpose)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_a_broker_of_tls_1_1_is_refused(pki):
    """A server that has nothing newer; the operator reads so."""
    context = old_context(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "broker.crt", pki / "broker.key")
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()

    threading.Thread(target=serve, daemon=True).start()
    with server:
        said = outcome(f"mqtts://localhost:{server.getsockname()[1]}", ca_file=f"{pki}/ours.crt")
    assert "nothing newer than TLS 1.1" in said


def test_a_client_of_tls_1_1_is_refused(pki, tmp_path):
    """By the `tls_version` line that the shipped mosquitto.conf has for its TLS listener."""
    context = old_context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki / "ours.crt")
    with (
        mosquitto(tmp_path, listener(pki, more="tls_version tlsv1.2\nallow_anonymous true")) as port,
        socket.create_connection(("127.0.0.1", port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_plaintext_behind_a_tls_url_is_said(tmp_path):
    """The port is wrong, or the listener."""
    with mosquitto(tmp_path, "allow_anonymous true") as port:
        assert outcome(f"mqtts://localhost:{port}") != ""


def test_a_device_with_its_certificate_is_let_in(pki, mutual_tls):
    """Certificate and key from files."""
    files = {"ca_file": f"{pki}/ours.crt", "cert_file": f"{pki}/device.crt", "key_file": f"{pki}/device.key"}
    assert outcome(f"mqtts://localhost:{mutual_tls}", **files) == ""


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("", ("does it demand a client certificate?", "it demands a client certificate")),
        ("stranger", ("does it refuse our certificate?", "it does not know who signed our certificate")),
    ],
)
def test_a_device_without_a_certificate_of_ours_stays_out(pki, mutual_tls, shown, said):
    """And its operator reads what to look at: Mosquitto's alert, or only that it hung up, whichever arrives first."""
    files = {"cert_file": f"{pki}/{shown}.crt", "key_file": f"{pki}/{shown}.key"} if shown else {}
    trouble = outcome(f"mqtts://localhost:{mutual_tls}", ca_file=f"{pki}/ours.crt", **files)
    assert any(words in trouble for words in said)


def test_a_key_that_everybody_may_read_is_refused(pki, tmp_path):
    """With the command that mends it."""
    key = tmp_path / "open.key"
    key.write_bytes((pki / "device.key").read_bytes())
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="every user of this machine") as caught:
        new_client(Broker("mqtts://localhost", cert_file=f"{pki}/device.crt", key_file=str(key)), "c")
    assert "chmod 600" in caught.value.hint


def test_a_key_behind_a_passphrase_is_refused_and_nobody_is_asked(pki, tmp_path):
    """OpenSSL would ask on the terminal: a daemon that stands there waits for ever."""
    key = tmp_path / "sealed.key"
    words = ["openssl", "ec", "-in", f"{pki}/device.key", "-aes256", "-passout", "pass:a word", "-out", str(key)]
    subprocess.run(words, check=True, capture_output=True)
    key.chmod(0o600)
    with pytest.raises(ConfigError, match="passphrase") as caught:
        new_client(Broker("mqtts://localhost", cert_file=f"{pki}/device.crt", key_file=str(key)), "c")
    assert "openssl pkey" in caught.value.hint


def test_secrets_come_from_a_credential(tmp_path, monkeypatch):
    """`credential:NAME` is systemd's file of that name, and stays so when paths are made absolute."""
    (tmp_path / "broker-password").write_text("a word\n")
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", str(tmp_path))
    broker = Broker("mqtt://127.0.0.1", username="u", password_file=CREDENTIAL)
    assert (
        new_client(broker.anchored(tmp_path / "elsewhere"), "c").password
        == (tmp_path / "broker-password").read_text().strip()
    )


@pytest.mark.parametrize("name", ["credential:broker-password", "credential:../x", "credential:"])
def test_a_credential_that_is_not_there_is_said(name, monkeypatch):
    """With the line for the unit."""
    monkeypatch.delitem(os.environ, "CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="credential") as caught:
        new_client(Broker("mqtt://127.0.0.1", username="u", password_file=name), "c")
    assert "LoadCredential=" in caught.value.hint


def shipped_with_certificates(pki, folder):
    """deploy/server/mosquitto.conf as its last section says, with the files of this test."""
    rules = folder / "rules.acl"
    rules.write_text((SHIPPED / "mosquitto.acl").read_text())
    rules.chmod(0o600)
    above, _, below = (SHIPPED / "mosquitto.conf").read_text().partition("# Replace the listener above with:\n")
    tls = [line.removeprefix("# ") for line in below.splitlines() if not line.startswith("# Client certificates")]
    assert {"cafile", "certfile", "keyfile", "tls_version", "require_certificate"} <= {line.split()[0] for line in tls}
    kept = [line for line in [*above.splitlines(), *tls] if line.split()[:1] not in (["listener"], ["password_file"])]
    text = "\n".join(kept)
    for shipped, ours in (
        ("/etc/mosquitto/ca.crt", pki / "ours.crt"),
        ("/etc/mosquitto/broker.crt", pki / "broker.crt"),
        ("/etc/mosquitto/broker.key", pki / "broker.key"),
        ("/etc/mosquitto/discreet.acl", rules),
        ("/var/lib/mosquitto/", f"{folder}/"),
    ):
        assert shipped in text
        text = text.replace(shipped, str(ours))
    return text


def test_the_shipped_tls_section_as_written(pki, tmp_path):
    """Client certificates instead of passwords: the name in the certificate is the account of the access rules."""
    with mosquitto(tmp_path, shipped_with_certificates(pki, tmp_path)) as port:
        url = f"mqtts://localhost:{port}"
        heard = []
        files = {"ca_file": f"{pki}/ours.crt", "cert_file": f"{pki}/server.crt", "key_file": f"{pki}/server.key"}
        server = new_client(Broker(url, **files), "server")
        subscribed = threading.Event()
        server.on_connect = lambda client, *_: client.subscribe(reports_topic("flights"), qos=1)
        server.on_subscribe = lambda *_: subscribed.set()
        server.on_message = lambda _client, _data, message: heard.append(message.payload)
        server.connect("localhost", port)
        server.loop_start()
        try:
            assert subscribed.wait(20)
            device = {"ca_file": f"{pki}/ours.crt", "cert_file": f"{pki}/device.crt", "key_file": f"{pki}/device.key"}
            with MqttLink(Broker(url, **device), "flights", lambda _message: None) as link:
                wait_for(lambda: link.connected, "the device's connection")
                assert link.publish(b"a report")
                wait_for(lambda: heard == [b"a report"], "the report")
            assert "client certificate" in outcome(url, ca_file=f"{pki}/ours.crt")  # in either wording
        finally:
            server.disconnect()
            server.loop_stop()
