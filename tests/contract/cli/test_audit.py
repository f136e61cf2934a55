"""`discreet policy explain` and `diff` as people and pipelines meet them."""

import json

import pytest

from discreet_contract.errors import ExitCode
from policies import FLIGHTS, edited


@pytest.mark.parametrize(
    ("form", "start"),
    [("text", "Fleet flights"), ("md", "# What"), ("html", "<!DOCTYPE html>"), ("json", "{"), ("registry", "{")],
)
def test_every_format_of_explain(run, form, start):
    code, out, _ = run("policy", "explain", FLIGHTS, "--format", form)

    assert code == ExitCode.OK
    assert out.startswith(start)
    assert start != "{" or json.loads(out)


def test_diff_takes_signed_files_and_exits_with_its_verdict(run, tmp_path):
    """A signed policy against the YAML that follows it."""
    run("policy", "keys", "new", tmp_path / "root.key")
    run("policy", "sign", FLIGHTS, "--key", tmp_path / "root.key", "-o", tmp_path / "old.json")
    new = tmp_path / "new.yaml"
    new.write_text(edited(("spread: 1h", "spread: 1m")), encoding="utf-8")

    assert run("policy", "diff", tmp_path / "old.json", FLIGHTS) == (ExitCode.OK, "no change\n", "")
    code, out, _ = run("policy", "diff", tmp_path / "old.json", new)
    assert code == ExitCode.DIFF_REGRESSING
    assert "spread: 1h → 1m" in out
    code, out, _ = run("policy", "diff", FLIGHTS, new, "--json")
    assert json.loads(out)["exit_code"] == code == ExitCode.DIFF_REGRESSING
    assert run("policy", "diff", FLIGHTS, new, "--format", "md")[1].startswith("**Policy diff: compatible")
