"""Where the broker is, and what is refused before anything is sent in the clear."""

import pytest

from discreet_contract.broker import Broker, backoff_seconds, new_client
from discreet_contract.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "loopback"),
    [
        ("mqtt://127.0.0.1:1999", "127.0.0.1", 1999, False, True),
        ("mqtt://localhost", "localhost", 1883, False, True),
        ("mqtt://[::1]:1883", "::1", 1883, False, True),
        ("mqtts://broker.example", "broker.example", 8883, True, False),
    ],
)
def test_a_url_says_where_and_how(url, host, port, tls, loopback):
    """MQTT's own ports where none is given."""
    broker = Broker(url)
    broker.check()

    assert (broker.host, broker.port, broker.is_tls, broker.is_loopback) == (host, port, tls, loopback)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "is not mqtt://host:port"), ("127.0.0.1:1883", "is not mqtt://host:port"), ("http://127.0.0.1", "is not mqtt://"),
        ("mqtt://", "is not mqtt://host:port"), ("mqtt://127.0.0.1:99999", "is not mqtt://host:port"),
        ("mqtt://127.0.0.1:x", "is not mqtt://host:port"), ("mqtt://[::1", "is not mqtt://host:port"),
        ("mqtts://user:secret@broker.example", "carries no credentials"),
        ("mqtt://broker.example", "is not this machine and the url is not mqtts://"),
    ],
)  # fmt: skip
def test_a_broker_that_cannot_work_is_refused(url, part):
    """With the next step, and without repeating a password."""
    with pytest.raises(ConfigError, match=part) as caught:
        Broker(url).check()

    assert caught.value.hint
    assert "secret" not in str(caught.value)


def test_plaintext_over_a_network_is_a_decision():
    """Somebody wrote it down."""
    Broker("mqtt://broker.example", allow_plaintext=True).check()


@pytest.mark.parametrize(
    "settings",
    [{"username": "u", "password_file": "/none"}, {"ca_file": "/none"}, {"cert_file": "/none"}],
    ids=lambda s: next(reversed(s)),
)
def test_a_missing_credential_file_is_named(settings):
    """Which file, and what to do."""
    with pytest.raises(ConfigError, match="/none") as caught:
        new_client(Broker("mqtts://broker.example", **settings), "c")

    assert caught.value.hint


def test_a_client_is_made_unconnected(tmp_path):
    """Credentials from the file, without its line end."""
    password = tmp_path / "password"
    password.write_text("secret\n")

    client = new_client(Broker("mqtt://127.0.0.1:1", username="u", password_file=str(password)), "c")

    assert (client.username, client.password) == ("u", "secret")
    assert not client.is_connected()


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 0.5), (3, 4.0), (30, 60.0)])
def test_back_off_is_jittered_and_capped(attempt, ceiling):
    """Never nothing, never beyond its ceiling."""
    waits = [backoff_seconds(attempt) for _ in range(200)]

    assert min(waits) >= 0.05
    assert max(waits) <= ceiling
    assert len(set(waits)) > 100
