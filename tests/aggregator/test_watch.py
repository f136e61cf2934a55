"""Keys and policies change under a running pipeline; what cannot be loaded changes nothing."""

import os
from pathlib import Path

import pytest
from nacl.public import PublicKey

from discreet_aggregator.config import load_config
from discreet_aggregator.keys import KeyFolder, destroy_key, load_keys, new_key
from discreet_aggregator.policies import PolicyFiles
from discreet_aggregator.refusal import RefusalReason
from discreet_aggregator.store.store import Store
from discreet_aggregator.watch import Watch
from discreet_contract.envelope import OVERHEAD_BYTES, encode_key_id, seal
from discreet_contract.errors import ConfigError
from discreet_contract.wire import encode_report


@pytest.fixture
def watched(fleet):
    """A watch, a pipeline that it looks after, and the folder of keys."""
    folder = fleet.folder / "keys"
    watch = Watch(PolicyFiles([str(fleet.folder / "policies")], fleet.roots, "test-fleet"), KeyFolder(folder))
    with Store(str(fleet.folder / "state.db")) as store:
        yield watch, fleet.pipeline(store), folder


def test_an_envelope_to_a_key_that_is_not_here_waits_for_it(fleet, watched):
    """No receipt and nothing stored; the same bytes are admitted once the key's file has come."""
    watch, pipeline, folder = watched
    public = new_key(fleet.folder / "elsewhere", "k2")
    body = encode_report(fleet.report(), overhead=OVERHEAD_BYTES)
    envelope = seal(body, "k2", PublicKey(bytes.fromhex(public)))
    watch.look(pipeline)
    assert pipeline.process([envelope]) == []
    (fleet.folder / "elsewhere" / "k2.key").rename(folder / "k2.key")
    watch.look(pipeline)
    assert [receipt.verdict for receipt in fleet.receipts(pipeline.process([envelope]))] == [0]
    assert pipeline.totals[RefusalReason.KEY_UNKNOWN.value] == 1
    assert pipeline.totals["accepted"] == 1


def test_a_bad_key_file_leaves_the_former_keys(fleet, watched):
    """It is complained of once, counted, and tried again when it is mended."""
    watch, pipeline, folder = watched
    bad = folder / "k2.key"
    bad.write_text("half a ke")
    bad.chmod(0o600)
    for _ in range(3):
        watch.look(pipeline)
    assert pipeline.totals["keys_not_loaded"] == 1
    assert fleet.receipts(pipeline.process([fleet.seal(fleet.report())]))
    bad.unlink()
    new_key(folder, "k2")
    watch.look(pipeline)
    assert set(watch.keys) == {encode_key_id("k1"), encode_key_id("k2")}


def test_a_mode_that_was_mended_is_noticed(watched):
    """Nothing but the mode changes."""
    watch, pipeline, folder = watched
    new_key(folder, "k2")
    (folder / "k2.key").chmod(0o644)
    watch.look(pipeline)
    assert set(watch.keys) == {encode_key_id("k1")}
    (folder / "k2.key").chmod(0o600)
    watch.look(pipeline)
    assert encode_key_id("k2") in watch.keys


def test_a_destroyed_key_opens_nothing_more(fleet, watched):
    """Its bytes are overwritten, its file is gone, and the running pipeline lets it go."""
    watch, pipeline, folder = watched
    new_key(folder, "k2")
    os.link(folder / "k1.key", fleet.folder / "a second name of the same bytes")
    before = (folder / "k1.key").read_bytes()
    destroy_key(folder, "k1")
    watch.look(pipeline)
    assert (fleet.folder / "a second name of the same bytes").read_bytes() != before
    assert not (folder / "k1.key").exists()
    assert pipeline.process([fleet.seal(fleet.report())]) == []
    assert pipeline.totals["KEY_UNKNOWN"] == 1


def test_keys_may_be_credentials_of_the_service_manager(fleet, monkeypatch):
    """systemd's access list shows as a group's right to read: its folder is guarded, and the file is taken."""
    handed = fleet.folder / "credentials"
    (fleet.folder / "keys").rename(handed)
    (handed / "k1.key").chmod(0o440)
    path = fleet.write_config(1883)
    path.write_text(path.read_text().replace('keys_dir = "keys"', 'keys_dir = "credential:"'))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="no credentials"):
        load_config(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert set(load_keys(Path(load_config(path).keys_dir))) == {encode_key_id("k1")}
