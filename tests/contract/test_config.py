"""A machine's own TOML: every fault names file, line and key."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from discreet_contract.broker import Broker
from discreet_contract.config import find_config, read_config
from discreet_contract.errors import ConfigError, ExitCode


class Example(msgspec.Struct, forbid_unknown_fields=True):
    """A configuration as the two sides have them."""

    fleet: str
    broker: Broker
    roots: tuple[Annotated[str, msgspec.Meta(min_length=4)], ...] = ()
    batch: Annotated[int, msgspec.Meta(ge=1)] = 50


GOOD = """\
# a comment
fleet = "flights"
batch = 10
roots = ["abcd"]

[broker]
url = "mqtt://127.0.0.1:1883"
username = "device"
"""


def read(tmp_path, text):
    path = tmp_path / "agent.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(path, Example, hint="see the reference")


def test_a_good_file_is_read(tmp_path):
    """Values arrive typed."""
    assert read(tmp_path, GOOD) == Example("flights", Broker("mqtt://127.0.0.1:1883", "device"), ("abcd",), 10)


@pytest.mark.parametrize(
    ("old", "new", "line", "part"),
    [
        ("batch = 10", "batch = 'x'", 3, "Expected `int`, got `str`"),
        ("batch = 10", "batch = 0", 3, "Expected `int` >= 1"),
        ("batch = 10", "bach = 10", 3, "unknown field `bach`"),
        ('username = "device"', "username = 7", 8, "Expected `str`, got `int`"),
        ('username = "device"', 'usrname = "device"', 8, "unknown field `usrname`"),
        ('url = "mqtt://127.0.0.1:1883"\n', "", 6, "missing required field `url`"),
        ('fleet = "flights"\n', "", 1, "missing required field `fleet`"),
        ('roots = ["abcd"]', 'roots = ["abcd", "x"]', 4, "Expected `str` of length >= 4"),
        ("batch = 10", "batch = ", 3, "Invalid value"),
        ("batch = 10", "batch = 10\nbatch = 11", 4, "Cannot overwrite a value"),
        ('username = "device"\n', 'username = "device', 8, "Unterminated string"),
    ],
)
def test_a_fault_names_file_line_and_key(tmp_path, old, new, line, part):
    """What an editor can jump to."""
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD.replace(old, new, 1))

    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'agent.toml'}:{line}: "), message
    assert part in message
    assert caught.value.hint
    assert caught.value.exit_code == ExitCode.CONFIG


def test_a_key_is_looked_for_in_its_own_table(tmp_path):
    """Two keys of one name: `batch` belongs to the top, not to the broker, and the other way round."""
    with pytest.raises(ConfigError, match=r"agent\.toml:9: .*unknown field `batch`"):
        read(tmp_path, GOOD + "batch = 3\n")
    with pytest.raises(ConfigError, match=r"agent\.toml:1: .*unknown field `url`"):
        read(tmp_path, GOOD.replace("# a comment", 'url = "none"', 1))


def test_an_inline_table_is_a_place_as_well(tmp_path):
    """At least the line of the table."""
    with pytest.raises(ConfigError, match=r"agent\.toml:2: .*got `int`"):
        read(tmp_path, 'fleet = "f"\nbroker = {url = 7}\n')


def test_bytes_that_are_no_text_are_refused(tmp_path):
    """Latin-1 by mistake."""
    with pytest.raises(ConfigError, match=r"agent\.toml:1: not a UTF-8 text"):
        read(tmp_path, GOOD.encode().replace(b"a comment", b"\xe9"))


def test_a_missing_file_carries_the_hint(tmp_path):
    """The caller knows what to do."""
    with pytest.raises(ConfigError, match="cannot read the configuration: No such file") as caught:
        read_config(tmp_path / "none.toml", Example, hint="see the reference")

    assert caught.value.hint == "see the reference"


def test_the_users_file_comes_before_the_machines(monkeypatch, tmp_path):
    """--config, then $XDG_CONFIG_HOME, then /etc; where there is none, both places are named."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert find_config(Path("x.toml"), "side.toml", hint="h") == Path("x.toml")
    with pytest.raises(ConfigError, match=r"discreet/side\.toml or /etc/discreet/side\.toml") as missing:
        find_config(None, "side.toml", hint="h")
    assert missing.value.hint
    (tmp_path / "discreet").mkdir()
    (tmp_path / "discreet" / "side.toml").touch()
    assert find_config(None, "side.toml", hint="h") == tmp_path / "discreet" / "side.toml"
