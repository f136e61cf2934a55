"""`discreet policy audit` and `plan` as auditors and operators meet them."""

import json

import pytest

from discreet_contract.audit.findings import Check, Finding, Outcome
from discreet_contract.audit.render import NOT_INSTALLED, as_facts, as_text
from discreet_contract.errors import ExitCode
from policies import FLIGHTS, HOST, MEDIA


def test_audit_prints_a_line_for_every_metric_and_check(run):
    """Over the installed agent's device path; exit code 0."""
    code, out, _ = run("policy", "audit", HOST, "--seconds", "0.1")

    assert code == ExitCode.OK
    lines = out.splitlines()
    for metric in ("busy", "memory_pressure"):
        checks = [line for line in lines if line.startswith(f"{metric} ")]
        assert len(checks) == len(Check) - 2  # neither memoised nor discrete Laplace
        assert all("  PASS  " in line for line in checks)
    assert lines[-1].startswith("22 passed, 0 failed.")


def test_audit_as_json(run):
    code, out, _ = run("policy", "audit", HOST, "--seconds", "0.1", "--json")
    facts = json.loads(out)

    assert code == ExitCode.OK
    assert facts["passed"] is True
    assert facts["note"] is None
    assert {one["check"] for one in facts["findings"]} == set(Check) - {Check.LIFETIME, Check.SPREAD}
    assert all(one["outcome"] == "PASS" and one["facts"] for one in facts["findings"])


def test_an_audit_without_a_device_says_so_and_is_the_same_every_time(run):
    code, out, _ = run("policy", "audit", FLIGHTS, "--no-device")

    assert code == ExitCode.OK
    assert "devices were not: --no-device." in out
    assert run("policy", "audit", FLIGHTS, "--no-device") == (code, out, "")


def test_a_failure_says_what_it_means_and_what_to_do():
    found = [
        Finding("m", Check.ODDS, Outcome.PASS, "fine"),
        Finding("m", Check.PRESENCE, Outcome.FAIL, "reports: silent 0 of 2", {"due": 2}),
        Finding("m", Check.DRAWS, Outcome.NOT_RUN, "too many outputs"),
    ]
    text = as_text(found, NOT_INSTALLED)

    assert "FAIL m, presence" in text
    assert "  next:    A device with nothing to say reports its zero" in text
    assert "no device path is installed" in text
    assert text.splitlines()[-1].startswith("1 passed, 1 failed, 1 not run.")
    assert as_facts(found)["passed"] is False


def test_plan_is_a_table_or_json(run):
    code, out, _ = run("policy", "plan", MEDIA, "--devices", "100000")
    assert code == ExitCode.OK
    assert out.splitlines()[0].startswith("metric")
    assert len(out.splitlines()) == 5

    code, out, _ = run("policy", "plan", MEDIA, "--devices", "100000", "--width", "0.1", "--json")
    facts = json.loads(out)
    assert facts["width"] == 0.1
    assert [one["metric"] for one in facts["metrics"]] == ["minutes", "crashed", "main_genre", "evening"]
    assert all(one["devices_needed"] for one in facts["metrics"])


@pytest.mark.parametrize("arguments", [("--devices", "1"), ("--width", "0")])
def test_plan_refuses_what_makes_no_sense(run, arguments):
    assert run("policy", "plan", FLIGHTS, *arguments)[0] == ExitCode.USAGE


def test_a_missing_policy_is_explained(run, tmp_path):
    for command in ("audit", "plan"):
        code, _, err = run("policy", command, tmp_path / "none.yaml")
        assert code == ExitCode.CONFIG
        assert "next:" in err
