"""Configuration, keys and policies: what an operator can get wrong, and what is said to them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from discreet_aggregator.config import load_config
from discreet_aggregator.keys import load_keys, new_key
from discreet_aggregator.policies import PolicyFiles, PolicyShelf, load_policies
from discreet_contract.envelope import encode_key_id
from discreet_contract.errors import ConfigError, SignatureRefusedError
from discreet_contract.policy.log import PolicyLog
from discreet_contract.policy.release import read_root_key


def test_paths_are_relative_to_the_file(fleet):
    """A folder with its configuration can be moved as a whole."""
    config = load_config(fleet.write_config(1883))
    assert Path(config.keys_dir) == fleet.folder / "keys"
    assert config.where == str(fleet.folder / "state" / "aggregator.db")
    assert config.session(1) == "discreet-aggregator-test-fleet"
    assert (config.batch, config.flush_ms, config.log_json) == (500, 50, True)
    assert config.clock().now_ms() > 1_700_000_000_000


def test_a_replay_clock_needs_a_loopback_broker(fleet):
    """A replayed time never meets a real fleet."""
    path = fleet.write_config(1883, replay_clock='"now"')
    (fleet.folder / "now").write_text("123")
    assert load_config(path).clock().now_ms() == 123
    path.write_text(path.read_text().replace("mqtt://127.0.0.1", "mqtts://broker.example.org"))
    with pytest.raises(ConfigError, match="replay_clock"):
        load_config(path)


@pytest.mark.parametrize(("extra", "line"), [({"batch": 0}, 6), ({"nonsense": 1}, 6)])
def test_faults_name_file_and_line(fleet, extra, line):
    """Unknown keys and illegal values are errors."""
    path = fleet.write_config(1883, **extra)
    with pytest.raises(ConfigError, match=f"aggregator.toml:{line}:"):
        load_config(path)


def test_keys_are_private_and_never_overwritten(tmp_path):
    """Mode 0600, loaded under their encoded id, refused once others may read them."""
    public = new_key(tmp_path / "keys", "2026q4")
    path = tmp_path / "keys" / "2026q4.key"
    assert path.stat().st_mode & 0o777 == 0o600
    keys = load_keys(tmp_path / "keys")
    assert keys[encode_key_id("2026q4")].public_key.encode().hex() == public
    with pytest.raises(ConfigError, match="exists"):
        new_key(tmp_path / "keys", "2026q4")
    path.chmod(0o640)
    with pytest.raises(ConfigError) as refused:
        load_keys(tmp_path / "keys")
    assert refused.value.hint.startswith("chmod 600")


def test_broken_keys_are_explained_without_being_quoted(tmp_path):
    """A bad id, a bad file and an empty folder are configuration errors."""
    with pytest.raises(ConfigError, match="key id"):
        new_key(tmp_path, "Too Long For A Key")
    with pytest.raises(ConfigError, match="holds no key"):
        load_keys(tmp_path)
    (tmp_path / "k.key").write_text("5ecret")
    (tmp_path / "k.key").chmod(0o600)
    with pytest.raises(ConfigError, match="not a private key") as refused:
        load_keys(tmp_path)
    assert "5ecret" not in str(refused.value)


def test_only_this_fleets_signed_policies_stand_on_the_shelf(fleet):
    """Another fleet's policy, a stranger's signature and a missing file stop the start."""
    stranger = fleet.release("stranger", fleet="another")
    with pytest.raises(ConfigError, match="another"):
        load_policies([str(stranger)], fleet.roots, "test-fleet")
    with pytest.raises(SignatureRefusedError, match=r"one\.json"):
        load_policies([str(fleet.folder / "policies" / "one.json")], ["0" * 64], "test-fleet")
    with pytest.raises(ConfigError, match="cannot read"):
        load_policies([str(fleet.folder / "none.json")], fleet.roots, "test-fleet")
    with pytest.raises(ConfigError, match="no signed policy"):
        load_policies([str(fleet.folder / "keys")], fleet.roots, "test-fleet")


def test_versions_of_a_policy_share_the_shelf(fleet):
    """Reports under an old version stay admissible."""
    fleet.release("two", version=2, buckets=1)
    shelf = fleet.shelf
    assert {shelf[digest].policy.version for digest in shelf} == {1, 2}
    plan = next(iter(shelf.values())).plans["place"]
    assert shelf.plan("place", plan.version) == plan
    assert shelf.plan("place", "0" * 16) is None


def test_other_categories_are_another_version(fleet):
    """Sums over three and over four places never meet."""
    fleet.release("two", version=2, places="[a, b, c, d]")
    assert len({policy.plans["place"].version for policy in fleet.shelf.values()}) == 2


def test_two_meanings_of_one_version_stop_the_start(fleet):
    """Should a version ever say less than the mechanism needs, sums of unlike mechanisms still do not meet."""
    verified = fleet.policy
    plan = verified.plans["place"]
    other = replace(plan, mechanism=replace(plan.mechanism, labels=("a", "b")))
    twin = replace(verified, digest=bytes(32), plans={"place": other})
    with pytest.raises(ConfigError, match="different categories"):
        PolicyShelf([verified, twin])


# --- transparency logs


@pytest.fixture
def logged(fleet):
    """A fleet whose policies lie in a log; `fleet.release` makes the next one's text."""
    return Logged(fleet)


class Logged:
    """The operator's side of a log."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.key = read_root_key(fleet.folder / "root.key")
        self.log = PolicyLog.open(fleet.folder / "releases")
        self.files = PolicyFiles([str(self.log.folder)], fleet.roots, "test-fleet")

    def append(self, **values):
        version = len(self.log.entries) + 1
        signed = self.fleet.release(f"logged{version}", version=version, **values).read_bytes()
        self.log = self.log.append(signed, [self.key], version)


def versions(shelf):
    return sorted(verified.policy.version for verified in shelf.values())


def test_a_log_gives_every_version_and_is_followed(logged):
    """Reports under older versions are still on their way."""
    logged.append()
    logged.append(buckets=1)
    assert versions(logged.files.load()) == [1, 2]
    assert not logged.files.have_changed()
    logged.append(buckets=256)
    assert logged.files.have_changed()
    assert versions(logged.files.load()) == [1, 2, 3]
    assert not logged.files.have_changed()


def test_a_log_that_did_not_grow_from_the_one_before_is_refused(logged):
    """Somebody put another log in its place; the former policies stay."""
    logged.append()
    logged.files.load()
    shutil.rmtree(logged.log.folder)
    logged.log = PolicyLog.open(logged.log.folder)
    logged.append(buckets=1)
    logged.append(buckets=16)
    with pytest.raises(SignatureRefusedError, match="SPLIT_VIEW") as refused:
        logged.files.load()

    assert refused.value.hint
    assert logged.files.have_changed()


def test_a_log_whose_head_is_gone_is_no_empty_folder(logged):
    """Or another log could be put there in between."""
    logged.append()
    logged.files.load()
    (logged.log.folder / "head.json").unlink()
    with pytest.raises(ConfigError, match="its head is gone"):
        logged.files.load()


def test_a_log_copied_by_halves_is_tried_again(logged):
    """The head came before its entry."""
    logged.append()
    logged.files.load()
    logged.append(buckets=1)
    entry = logged.log.folder / "entries" / "000002.json"
    content = entry.read_bytes()
    entry.unlink()
    with pytest.raises(ConfigError, match=r"000002\.json"):
        logged.files.load()
    assert logged.files.have_changed()
    entry.write_bytes(content)

    assert versions(logged.files.load()) == [1, 2]


def test_a_log_under_another_root_is_refused(logged):
    """As a file would be."""
    logged.append()
    with pytest.raises(SignatureRefusedError, match="NO_PINNED_SIGNATURE"):
        PolicyFiles([str(logged.log.folder)], ["0" * 64], "test-fleet").load()
    with pytest.raises(ConfigError, match="serves others"):
        PolicyFiles([str(logged.log.folder)], logged.fleet.roots, "others").load()
