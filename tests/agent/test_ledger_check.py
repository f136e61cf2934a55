"""`discreet agent ledger --verify` on a device's folder and on a copy."""

import json
import shutil

import pytest

from device_bench import HOUR, START, make_policy, make_signed
from discreet_agent.ledger_check import check_ledger
from discreet_agent.store.head import HEAD
from discreet_contract.cli.main import main
from discreet_contract.errors import ConfigError, ExitCode, StoreError
from releases import Releases


@pytest.fixture
def folder(bench, tmp_path):
    """A device that has reported two windows, at rest, and its signed policy beside the folder."""
    bench.open().pipeline.close_windows()
    bench.at(START + 2 * HOUR + 60)
    bench.open().pipeline.close_windows()
    bench.close()
    (tmp_path / "policy.json").write_bytes(make_signed())
    return bench.folder


def run(capsys, *arguments):
    try:
        main(["agent", "ledger", *map(str, arguments)])
        code = 0
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_copy_is_verified_from_nothing_else(folder, tmp_path, capsys):
    """Ledger and policies; no configuration, nothing written."""
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(folder / "agent.db", copy / "agent.db")
    code, out, _ = run(capsys, "--verify", "--copy", copy / "agent.db", "--policy", tmp_path / "policy.json")
    assert (code, out) == (
        0,
        "6 charges, ε 6 in all, against 1 policies; no head: a cut end would not show; no findings\n",
    )
    assert [path.name for path in copy.iterdir()] == ["agent.db"]

    shutil.copy(folder / HEAD, copy / HEAD)
    code, out, _ = run(capsys, "--verify", "--copy", copy / "agent.db", "--policy", tmp_path / "policy.json", "--json")
    assert (code, json.loads(out)) == (0, {"rows": 6, "epsilon": 6.0, "policies": 1, "head": 6, "findings": []})


def test_findings_stand_one_a_line_and_fail_the_command(bench, folder, tmp_path, capsys):
    """A charge made smaller, its chain not mended."""
    device = bench.open()
    device.store.connection.execute("UPDATE ledger SET nano = nano - 1 WHERE sequence = 6")
    bench.close()
    code, out, _ = run(capsys, "--verify", "--copy", folder / "agent.db", "--policy", tmp_path / "policy.json")
    assert code == ExitCode.FAILED
    assert [line.split(": ")[:2] for line in out.splitlines()[:-1]] == [
        ["row 6", "CHAIN"],
        ["row 6", "HEAD"],
        ["row 6", "CHARGE"],
    ]
    assert out.endswith("3 findings\n")


def test_a_policy_that_is_not_given_is_said_to_be_missing(folder, tmp_path):
    """Once a row; none is judged under another."""
    (tmp_path / "other.json").write_bytes(make_signed(version=2))
    checked = check_ledger(folder / "agent.db", [tmp_path / "other.json"], is_copy=True)
    assert [(finding.sequence, finding.flaw.value) for finding in checked.findings] == [
        (number, "POLICY_UNKNOWN") for number in range(1, 7)
    ]


def test_a_devices_own_head_may_not_be_missing(folder, tmp_path):
    """A copy's may: that is said instead."""
    (folder / HEAD).unlink()
    given = [tmp_path / "policy.json"]
    [finding] = check_ledger(folder / "agent.db", given, is_copy=False).findings
    assert finding.flaw.value == "HEAD"
    assert check_ledger(folder / "agent.db", given, is_copy=True).findings == []
    (folder / HEAD).write_text("x")
    [finding] = check_ledger(folder / "agent.db", given, is_copy=True).findings
    assert "cannot be read" in str(finding)


def test_the_kept_policy_is_the_default(bench, tmp_path):
    """A bundle, as devices keep it."""
    releases = Releases(tmp_path / "log")
    bundle = releases.release()
    bench.policy = make_policy()
    bench.open()
    (bench.folder / "policy.kept.json").write_bytes(bundle)
    bench.close()
    assert check_ledger(bench.folder / "agent.db", [], is_copy=False).policies == 1


def test_a_ledger_in_use_is_read_beside_the_agent(bench, device, tmp_path):
    """Also what is still in the write-ahead log."""
    bench.at(START + HOUR + 60)
    device.pipeline.close_windows()
    (tmp_path / "policy.json").write_bytes(make_signed())
    checked = check_ledger(bench.folder / "agent.db", [tmp_path / "policy.json"], is_copy=False)
    assert (len(checked.entries), checked.findings) == (3, [])


def test_what_is_no_ledger_is_said_to_be_none(tmp_path):
    """With the next step."""
    with pytest.raises(ConfigError, match="no database"):
        check_ledger(tmp_path / "agent.db", [], is_copy=True)
    (tmp_path / "agent.db").write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match="no device's database"):
        check_ledger(tmp_path / "agent.db", [], is_copy=True)


def test_policies_without_verify_are_a_mistake(capsys, tmp_path):
    """They would be read by nobody."""
    code, _, err = run(capsys, "--copy", tmp_path / "agent.db", "--policy", tmp_path / "policy.json")
    assert code == ExitCode.USAGE
    assert "--verify" in err


def test_a_copy_is_listed_without_verify(folder, capsys):
    """As the device's own."""
    code, out, _ = run(capsys, "--copy", folder / "agent.db")
    assert code == 0
    assert out.endswith("6 charges, ε 6 in all; the chain holds\n")
