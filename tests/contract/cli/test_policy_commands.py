"""`discreet policy` as people and scripts meet it: exit codes, JSON, the next step."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from discreet_contract import __version__
from discreet_contract.cli.policy import policy as policy_group
from discreet_contract.errors import ExitCode
from policies import FLIGHTS, HOST, MEDIA, edited

TODAY = ("--today", "2026-11-01")


def leaves(command, path=("policy",)):
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, child in command.commands.items():
        yield from leaves(child, (*path, name))


LEAVES = dict(leaves(policy_group))


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(edited(("consent: managed", "consent: sure"), ("lateness: 2h", "latenes: 2h")), encoding="utf-8")
    return path


@pytest.fixture
def released(run, tmp_path):
    """Signed flights policy and the root that signed it."""
    code, root, _ = run("policy", "keys", "new", tmp_path / "root.key")
    assert code == 0
    code, _, _ = run("policy", "sign", FLIGHTS, "--key", tmp_path / "root.key", "-o", tmp_path / "signed.json")
    assert code == 0
    return tmp_path / "signed.json", root.strip()


def test_a_real_process_exits_with_the_documented_code(broken):
    """What a script sees, not only what the function returns."""
    command = Path(sys.executable).with_name("discreet")
    run = subprocess.run([command, "policy", "lint", broken], capture_output=True, text=True, check=False)

    assert run.returncode == ExitCode.POLICY
    assert run.stdout.splitlines()[0].startswith(f"{broken}:8:10: VALUE ")
    assert "Traceback" not in run.stderr


def test_the_exit_codes_are_in_the_help(run):
    """Each with its number and name."""
    code, out, _ = run("--help")

    assert code == 0
    for exit_code in ExitCode:
        assert f"  {exit_code.value}  {exit_code.name.lower()}" in out


def test_the_version_is_the_packages(run):
    """One version for all."""
    assert run("--version") == (0, f"discreet, version {__version__}\n", "")


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_help_with_an_example(run, path):
    """The example is the command itself."""
    code, out, _ = run(*path, "--help")

    assert code == 0
    assert "Example:" in out
    assert f"discreet {' '.join(path)}" in out.split("Example:")[1]
    for parameter in LEAVES[path].params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


@pytest.mark.parametrize("example", [FLIGHTS, HOST], ids=lambda p: p.stem)
def test_lint_of_an_example_is_clean(run, example):
    """And says so."""
    assert run("policy", "lint", example, *TODAY) == (0, f"{example}: clean\n", "")
    assert run("policy", "lint", example, "--json", *TODAY) == (0, '{"problems": []}\n', "")


def test_lint_prints_all_problems_where_they_stand(run, broken):
    """Exit 4, one line each."""
    code, out, _ = run("policy", "lint", broken)

    assert code == ExitCode.POLICY
    assert [line.split(" ")[0] for line in out.splitlines()] == [f"{broken}:8:10:", f"{broken}:17:1:"]


def test_lint_as_json_holds_the_same(run, broken):
    """For programs."""
    code, out, _ = run("policy", "lint", broken, "--json")

    assert code == ExitCode.POLICY
    [first, second] = json.loads(out)["problems"]
    assert (first["file"], first["line"], first["column"], first["rule"]) == (str(broken), 8, 10, "VALUE")
    assert second["message"] == "unknown key 'latenes'; did you mean 'lateness'?"


def test_lint_reports_judgements_as_of_a_day(run):
    """The same file, another day."""
    code, out, _ = run("policy", "lint", FLIGHTS, "--today", "2028-01-01")

    assert code == ExitCode.POLICY
    assert f"{FLIGHTS}:33:14: EXPIRED expired on 2028-01-01" in out


def test_explain_prints_text_or_json(run):
    """The same facts."""
    code, text, _ = run("policy", "explain", FLIGHTS)
    assert code == 0
    code, out, _ = run("policy", "explain", FLIGHTS, "--json")
    assert code == 0

    facts = json.loads(out)
    assert facts["hash"] in text
    assert set(facts["leaves"]) == {"late_departure", "main_origin", "departures"}


def test_what_was_signed_is_verified(run, released):
    """sign, then verify with the root that `keys new` printed."""
    signed, root = released

    code, out, _ = run("policy", "verify", signed, "--root", root)
    assert code == 0
    assert f"good signature by {root}" in out
    code, out, _ = run("policy", "verify", signed, "--root", root, "--json")
    assert code == 0
    assert json.loads(out) | {"hash": ""} == {"fleet": "flights", "version": 1, "hash": "", "signed_by": root}


def test_the_hash_is_the_same_in_every_command(run, released):
    """explain, sign and verify speak of one thing."""
    signed, root = released
    verified = json.loads(run("policy", "verify", signed, "--root", root, "--json")[1])["hash"]
    explained = json.loads(run("policy", "explain", FLIGHTS, "--json")[1])["hash"]

    assert verified == explained


def failures(tmp_path, broken, signed):
    missing = tmp_path / "missing"
    junk = tmp_path / "junk"
    junk.write_text("[")
    key = tmp_path / "root.key"
    return {
        "lint: no file": (("lint", missing), ExitCode.CONFIG),
        "explain: no file": (("explain", missing), ExitCode.CONFIG),
        "explain: problems": (("explain", broken), ExitCode.POLICY),
        "explain: not YAML": (("explain", junk), ExitCode.POLICY),
        "sign: problems": (("sign", broken, "--key", key, "-o", tmp_path / "o"), ExitCode.POLICY),
        "sign: no key": (("sign", FLIGHTS, "--key", missing, "-o", tmp_path / "o"), ExitCode.CONFIG),
        "sign: not a key": (("sign", FLIGHTS, "--key", junk, "-o", tmp_path / "o"), ExitCode.CONFIG),
        "sign: no folder": (("sign", FLIGHTS, "--key", key, "-o", missing / "o"), ExitCode.CONFIG),
        "sign: output is a folder": (("sign", FLIGHTS, "--key", key, "-o", tmp_path), ExitCode.CONFIG),
        "verify: no file": (("verify", missing, "--root", "00" * 32), ExitCode.CONFIG),
        "verify: not signed": (("verify", FLIGHTS, "--root", "00" * 32), ExitCode.POLICY),
        "verify: another root": (("verify", signed, "--root", "00" * 32), ExitCode.POLICY),
        "keys new: exists": (("keys", "new", key), ExitCode.CONFIG),
        "keys new: below a file": (("keys", "new", junk / "sub" / "root.key"), ExitCode.CONFIG),
    }


def test_every_failure_names_its_cause_and_the_next_step(run, tmp_path, broken, released):
    """One line, `next:`, a documented exit code, and never a traceback."""
    for name, (args, expected) in failures(tmp_path, broken, released[0]).items():
        code, out, err = run("policy", *args)

        assert code == expected, name
        assert out == "", name
        assert "\n  next: " in err, name
        assert len(err.split("  next: ")[1]) > 10, name


@pytest.mark.usefixtures("released")
def test_nothing_is_written_by_a_failed_sign(run, tmp_path, broken):
    """No half-made release."""
    run("policy", "sign", broken, "--key", tmp_path / "root.key", "-o", tmp_path / "other.json")

    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    "args", [("policy", "lint"), ("policy", "nonsense"), ("nonsense",), ("policy", "lint", "f", "--today", "soon")]
)
def test_a_wrong_call_exits_2_and_says_how(run, args):
    """click's own usage errors."""
    code, _, err = run(*args)

    assert code == ExitCode.USAGE
    assert "Usage:" in err


def test_a_root_key_file_is_private(run, tmp_path):
    """Mode 0600."""
    run("policy", "keys", "new", tmp_path / "root.key")

    assert (tmp_path / "root.key").stat().st_mode & 0o777 == 0o600


def test_a_new_policy_lints_clean(run, tmp_path):
    """The first thing an operator does ends well."""
    path = tmp_path / "mine.yaml"
    code, out, _ = run("policy", "new", path)
    assert code == 0
    assert f"discreet policy lint {path}" in out

    assert run("policy", "lint", path)[:2] == (0, f"{path}: clean\n")
    assert run("policy", "explain", path)[0] == 0


def test_a_new_policy_goes_to_standard_output_and_over_no_file(run, tmp_path):
    """A policy is never overwritten."""
    code, out, _ = run("policy", "new")
    assert code == 0
    assert out.startswith("# A first policy.")
    assert "@" not in re.sub(r"[a-z]+@[a-z.]+", "", out)

    kept = tmp_path / "kept.yaml"
    kept.write_text("mine")
    code, _, err = run("policy", "new", kept)
    assert code == ExitCode.CONFIG
    assert "next: choose another name" in err
    assert kept.read_text() == "mine"


def test_the_schema_is_printed_as_json(run):
    """For a file that an editor is pointed to."""
    code, out, _ = run("policy", "schema")
    assert code == 0
    assert json.loads(out)["title"] == "discreet policy"


def test_expiring_lists_what_ends_soonest_first(run):
    """Approvals, keys and experiments, with who answers for them."""
    code, out, _ = run("policy", "expiring", MEDIA, "--within", "600d", "--today", "2027-12-20")
    assert code == 0
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "2027-12-16 over experiment autoplay-2027 media-team@media.example",
        "2028-06-30 in 193 days signal app.crashed quality@media.example",
        "2028-06-30 in 193 days signal autoplay.shown media-team@media.example",
        "2028-06-30 in 193 days signal playback.stopped media-team@media.example",
        "2029-01-01 in 378 days aggregator key example ops@media.example",
    ]


def test_expiring_in_json_and_with_nothing(run):
    """Programs count the days themselves if they like."""
    code, out, _ = run("policy", "expiring", FLIGHTS, "--within", "70d", "--today", "2027-11-01", "--json")
    assert code == 0
    assert json.loads(out) == {
        "expiring": [
            {
                "what": "signal flight.departed",
                "day": "2028-01-01",
                "days_left": 61,
                "owner": "operations@flights.example",
            }
        ]
    }
    assert run("policy", "expiring", FLIGHTS, "--today", "2027-01-01")[1] == "nothing ends within 90d\n"


def test_expiring_wants_days(run):
    """`a week` is no number of days."""
    assert run("policy", "expiring", FLIGHTS, "--within", "1w")[0] == ExitCode.USAGE
