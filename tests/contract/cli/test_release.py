"""`discreet policy release` and `rollback` over the transparency log."""

from discreet_contract.errors import ExitCode
from policies import FLIGHTS, edited


def test_a_release_is_appended_and_a_rollback_is_a_new_version(run, tmp_path):
    """1, then 2, then the content of 1 as 3; a version twice is refused with its rule."""
    key, log = tmp_path / "root.key", tmp_path / "log"
    run("policy", "keys", "new", key)
    second = tmp_path / "second.yaml"
    second.write_text(edited(("version: 1\n", "version: 2\n"), ("lateness: 2h", "lateness: 3h")), encoding="utf-8")

    assert run("policy", "release", FLIGHTS, "--log", log, "--key", key)[0] == ExitCode.OK
    assert run("policy", "release", second, "--log", log, "--key", key)[0] == ExitCode.OK
    code, _, err = run("policy", "release", second, "--log", log, "--key", key)
    assert code == ExitCode.POLICY
    assert "VERSION version: the next release is version 3" in err
    code, out, _ = run("policy", "rollback", "1", "--log", log, "--key", key, "--reason", "it was better")
    assert code == ExitCode.OK
    assert out.startswith("released version 3, hash ")
