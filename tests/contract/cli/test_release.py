"""`discreet policy release` and `rollback` over the transparency log."""

import json

from discreet_contract.errors import ExitCode
from discreet_contract.policy.bundle import read_bundle
from discreet_contract.policy.log import PolicyLog
from discreet_contract.policy.merkle import is_consistent, leaf_hash
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


def test_from_a_release_to_a_file_for_devices(run, tmp_path):
    """`release`, `publish --output`; without a place to publish to it is a question of usage."""
    key, log = tmp_path / "root.key", tmp_path / "log"
    root = run("policy", "keys", "new", key)[1].strip()
    assert run("policy", "publish", "--log", log, "--output", tmp_path / "policy.json")[0] == ExitCode.CONFIG
    run("policy", "release", FLIGHTS, "--log", log, "--key", key)
    code, out, _ = run("policy", "publish", "--log", log, "--output", tmp_path / "policy.json", "--key", key)

    assert code == ExitCode.OK
    assert "version 1 of flights" in out
    bundle = read_bundle((tmp_path / "policy.json").read_bytes())
    assert bundle.head == PolicyLog.open(log).head
    assert bundle.head.check_signature([root]) == root
    assert run("policy", "publish", "--log", log)[0] == ExitCode.USAGE
    code, _, err = run("policy", "publish", "--log", log, "--broker", "mqtt://127.0.0.1:9")
    assert code == ExitCode.RETRYABLE
    assert "is the broker running" in err


def test_a_witness_signs_what_grew_and_nothing_else(run, tmp_path):
    """The second log is signed by the same root, and the witness says so."""
    key, witness, log, fork = (tmp_path / name for name in ("root.key", "witness.key", "log", "fork"))
    root = run("policy", "keys", "new", key)[1].strip()
    public = run("policy", "keys", "new", witness)[1].strip()
    other = tmp_path / "other.yaml"
    other.write_text(edited(("lateness: 2h", "lateness: 3h")), encoding="utf-8")
    run("policy", "release", FLIGHTS, "--log", log, "--key", key)
    run("policy", "release", other, "--log", fork, "--key", key)
    seen = ("--key", witness, "--root", root, "--seen", tmp_path / "seen.json")

    assert run("policy", "witness", "--log", log, *seen)[0] == ExitCode.OK
    PolicyLog.open(log).head.check_witness(public)
    code, _, err = run("policy", "witness", "--log", fork, *seen)
    assert code == ExitCode.POLICY
    assert "SPLIT_VIEW" in err
    assert PolicyLog.open(fork).head.witnesses == ()

    head = PolicyLog.open(log).head
    for folder, expected in ((log, ExitCode.OK), (fork, ExitCode.POLICY)):
        verify = ("policy", "log", "verify", folder, "--root", root, "--seen", f"{head.size}:{head.root}")
        assert run(*verify)[0] == expected
    assert run("policy", "log", "verify", log, "--root", root, "--seen", "1:xyz")[0] == ExitCode.USAGE


def test_a_root_hands_over_to_another(run, tmp_path):
    """The old one then releases nothing more; whoever pins it follows to the new one."""
    old, new, log = tmp_path / "old.key", tmp_path / "new.key", tmp_path / "log"
    root = run("policy", "keys", "new", old)[1].strip()
    run("policy", "keys", "new", new)
    run("policy", "release", FLIGHTS, "--log", log, "--key", old)
    assert run("policy", "keys", "rotate", "--log", log, "--key", old, "--new-key", old)[0] == ExitCode.CONFIG
    code, out, _ = run("policy", "keys", "rotate", "--log", log, "--key", old, "--new-key", new)
    assert code == ExitCode.OK
    assert out.startswith("from version 2 on: ")
    second = tmp_path / "second.yaml"
    second.write_text(edited(("version: 1\n", "version: 2\n"), ("lateness: 2h", "lateness: 3h")), encoding="utf-8")

    code, _, err = run("policy", "release", second, "--log", log, "--key", old)
    assert code == ExitCode.POLICY
    assert "ROOT_RETIRED" in err
    assert run("policy", "release", second, "--log", log, "--key", new)[0] == ExitCode.OK
    assert run("policy", "log", "verify", log, "--root", root)[0] == ExitCode.OK


def test_anybody_judges_a_delivery_as_a_device_does(run, tmp_path):
    """Under pinned roots, and a witness if one is demanded."""
    key, log, policy = tmp_path / "root.key", tmp_path / "log", tmp_path / "policy.json"
    root = run("policy", "keys", "new", key)[1].strip()
    run("policy", "release", FLIGHTS, "--log", log, "--key", key)
    run("policy", "publish", "--log", log, "--output", policy)
    code, _, err = run("policy", "log", "check", policy, "--root", "0" * 64)
    assert code == ExitCode.POLICY
    assert "NO_PINNED_SIGNATURE" in err
    code, out, err = run("policy", "log", "check", policy, "--root", root)
    assert code == ExitCode.OK
    assert "would obey version 1" in out
    code, _, err = run("policy", "log", "check", policy, "--root", root, "--witness", "1" * 64)
    assert code == ExitCode.POLICY
    assert "WITNESS_MISSING" in err


def test_a_proof_of_growth_is_printed_for_anybody(run, tmp_path):
    """With the inclusion proof, in hex."""
    key, log = tmp_path / "root.key", tmp_path / "log"
    run("policy", "keys", "new", key)
    run("policy", "release", FLIGHTS, "--log", log, "--key", key)
    second = tmp_path / "second.yaml"
    second.write_text(edited(("version: 1\n", "version: 2\n"), ("lateness: 2h", "lateness: 3h")), encoding="utf-8")
    run("policy", "release", second, "--log", log, "--key", key)
    given = json.loads(run("policy", "log", "prove", log, "2", "--from-size", "1")[1])
    root = bytes.fromhex(given["head"]["root"])
    first = leaf_hash(PolicyLog.open(log).entries[0])

    assert is_consistent(1, 2, first, root, [bytes.fromhex(item) for item in given["growth"]])
    assert run("policy", "log", "prove", log, "2", "--from-size", "9")[0] == ExitCode.CONFIG
