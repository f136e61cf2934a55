"""Whatever an operator can meet has its line in the documents. The lists are the code's own: a new entry fails here."""

import ast
import re
import subprocess
import sys
from typing import get_args, get_type_hints

import msgspec
import pytest

from discreet_agent.event import EventRefusal
from discreet_agent.receive.bounds import HangUp
from discreet_agent.receive.http_messages import HttpRefusal
from discreet_agent.store.head import Halt
from discreet_aggregator.estimate import Status
from discreet_aggregator.refusal import RefusalReason, verdict_of
from discreet_contract.accounting import CapName
from discreet_contract.errors import ExitCode
from discreet_contract.ledger_audit import Flaw
from discreet_contract.mechanisms.catalogue import FITTING
from discreet_contract.policy import model
from discreet_contract.policy.lint import RULES
from discreet_contract.policy.meanings import MEANINGS
from discreet_contract.policy.obey import PolicyRefusal
from discreet_contract.policy.schema import schema_text
from discreet_contract.wire import Verdict
from documents import COGGED, ROOT, name_of, reference

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
POLICIES = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
WIRE_FORMAT = (ROOT / "docs" / "wire-format.md").read_text(encoding="utf-8")
INTERPRETATION = (ROOT / "docs" / "interpretation.md").read_text(encoding="utf-8")
DATA_FLOW = (ROOT / "docs" / "data-flow.md").read_text(encoding="utf-8")
AGENT = ROOT / "agent" / "discreet_agent"
POLICY_CODE = ROOT / "contract" / "discreet_contract" / "policy"


def literals(*paths):
    """Every text constant in some files."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def tables(package, pattern):
    """Table names in a package's schema."""
    return re.findall(pattern, (package / "store" / "schema.py").read_text(encoding="utf-8"), re.IGNORECASE)


def test_generated_texts_are_current():
    """`cog --check` over every Markdown file with a generated part; `cog -r` mends it."""
    assert len(COGGED) >= 4
    command = [sys.executable, "-m", "cogapp", "--check", *map(name_of, COGGED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_check_looks_at_every_generated_text():
    check = (ROOT / "scripts" / "check").read_text(encoding="utf-8")
    assert [path for path in map(name_of, COGGED) if path not in check] == []


@pytest.mark.parametrize(("file", "table", "record"), reference().CONFIG_RECORDS)
def test_every_setting_is_documented(file, table, record):
    section = OPERATIONS.split(f"\n## {file}\n")[1].split("\n## ")[0]
    names = [field.encode_name for field in msgspec.structs.fields(record)]
    assert [name for name in names if f"| `{name}` |" not in section] == [], table


def test_every_record_of_the_policy_language_is_in_the_reference():
    known = {record for _, record in reference().POLICY_RECORDS}
    assert set(records_under(model.Policy)) == known


def records_under(kind):
    """Every record that a policy may hold."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from records_under(hint)
    for part in get_args(kind):
        yield from records_under(part)


def test_every_key_of_the_policy_language_has_a_meaning_and_no_meaning_is_left_over():
    keys = {
        f"{record.__name__}.{field.name}"
        for record in records_under(model.Policy)
        for field in msgspec.structs.fields(record)
    }
    assert set(MEANINGS) == keys


def test_the_schema_that_editors_read_is_current():
    """`discreet policy schema > policies/schema/policy.schema.json` mends it."""
    kept = ROOT / "policies" / "schema" / "policy.schema.json"
    assert kept.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("rule", [*RULES, "UNUSED_SUPPRESSION", "UNEXPLAINED_SUPPRESSION"])
def test_every_lint_is_documented(rule):
    assert f"| `{rule}` |" in POLICIES


def test_every_error_of_the_policy_language_is_documented():
    paths = [POLICY_CODE / name for name in ("read.py", "shape.py", "compile.py")]
    paths += POLICY_CODE.glob("check*.py")
    rules = {text for text in literals(*paths) if re.fullmatch(r"[A-Z][A-Z_]*[A-Z]", text)}
    assert rules
    assert {rule for rule in rules if f"`{rule}`" not in POLICIES} == set()


def test_every_rule_against_a_signed_policy_is_documented():
    modules = (POLICY_CODE / name for name in ("release.py", "bundle.py", "succession.py"))
    raised = "".join(path.read_text(encoding="utf-8") for path in modules)
    rules = {*re.findall(r'_refused\(\s*"([A-Z_]+)"', raised), *re.findall(r'rule="([A-Z_]+)"', raised)}
    assert len(rules) >= 6
    assert rules <= set(PolicyRefusal)  # or a device could not count it
    assert {rule for rule in PolicyRefusal if f"| `{rule}` |" not in OPERATIONS} == set()


def test_every_rule_of_the_gate_is_documented():
    rules = set(re.findall(r'GateProblem\("([A-Z_]+)"', (POLICY_CODE / "gate.py").read_text(encoding="utf-8")))
    assert len(rules) >= 10
    auditing = (ROOT / "docs" / "auditing.md").read_text(encoding="utf-8")
    assert {rule for rule in rules if f"`{rule}`" not in auditing} == set()


@pytest.mark.parametrize("reduction", model.Reduction.__args__)
def test_every_reduction_is_documented(reduction):
    assert f"| `{reduction}` |" in POLICIES


@pytest.mark.parametrize("mechanism", sorted({one for fitting in FITTING.values() for one in fitting}))
def test_every_mechanism_is_documented(mechanism):
    assert f"| `{mechanism}` |" in POLICIES
    assert f"| `{mechanism}` |" in WIRE_FORMAT


def test_every_command_is_in_the_readme():
    assert [path for path, _ in reference().help_texts() if f"$ {path} --help\n" not in README] == []


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_every_exit_code_is_in_the_readme(code):
    assert f"| {code.value} | {code.name.lower()} |" in README


@pytest.mark.parametrize("reason", EventRefusal)
def test_every_refusal_of_an_event_is_documented(reason):
    assert f"| `{reason.value}` |" in OPERATIONS


@pytest.mark.parametrize("reason", HttpRefusal)
def test_every_refusal_of_a_request_is_documented_with_its_status(reason):
    assert f"| `{reason.value}` | {reason.status.value} |" in OPERATIONS


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_refusal_of_a_report_is_documented_with_its_answer(reason):
    answered = verdict_of(reason) is not None or reason is RefusalReason.DUPLICATE
    assert f"| `{reason.value}` | {'yes' if answered else 'no'} |" in OPERATIONS


@pytest.mark.parametrize("cap", CapName)
def test_every_cap_that_may_refuse_is_documented(cap):
    assert f"| `BUDGET_{cap.name}` |" in OPERATIONS


@pytest.mark.parametrize("flaw", Flaw)
def test_every_flaw_of_a_ledger_is_documented(flaw):
    assert f"| `{flaw.value}` |" in (ROOT / "docs" / "auditing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", Halt)
def test_every_halt_is_documented(reason):
    assert f"| `{reason.value}` | {'stopped' if reason.is_final else 'wait'} |" in OPERATIONS
    assert reason.advice


@pytest.mark.parametrize("verdict", Verdict, ids=lambda verdict: verdict.name)
def test_every_verdict_is_documented(verdict):
    counted = "yes" if verdict.counted else "no"
    assert f"| {verdict.value} | `{verdict.name}` | {counted}" in WIRE_FORMAT
    assert f"`{verdict.name}`" in OPERATIONS


def test_every_counter_of_the_agent_is_documented():
    counted = r"(events|reports|receipts|requests|releases|windows|policies|databases|store)_[a-z_]+"
    files = ("pipeline.py", "daemon.py", "device.py", "storing.py")
    paths = (*sorted((AGENT / "steps").glob("*.py")), *(AGENT / name for name in files))
    counters = {text for text in literals(*paths) if re.fullmatch(counted, text)}
    assert len(counters) >= 8
    assert {name for name in counters if f"`{name}`" not in OPERATIONS} == set()


@pytest.mark.parametrize("status", Status)
def test_every_status_of_a_figure_is_explained(status):
    assert f"| `{status.value}` |" in INTERPRETATION


def test_every_table_is_in_the_data_flow():
    named = tables(AGENT, r"create table (\w+)")
    named += tables(ROOT / "aggregator" / "discreet_aggregator", r"create table (?:if not exists )?(\w+)")
    assert len(named) >= 18
    dropped = tables(AGENT, r"drop table (\w+)") + tables(
        ROOT / "aggregator" / "discreet_aggregator", r"drop table (\w+)"
    )
    missing = [name for name in named if name not in dropped and f"`{name}`" not in DATA_FLOW]
    assert missing == []


@pytest.mark.parametrize("reason", HangUp)
def test_every_reason_to_hang_up_is_documented(reason):
    assert f"| `{reason.value}` |" in OPERATIONS


def test_every_reason_to_drop_of_the_client_is_documented():
    named = {text for text in literals(AGENT / "client.py") if re.fullmatch(r"[A-Z]+_?[A-Z]+", text)}
    agent_readme = (ROOT / "agent" / "README.md").read_text(encoding="utf-8")
    own = named - set(EventRefusal) | {"TOO_LARGE"}
    assert len(own) == 6
    assert {reason for reason in own if f"| `{reason}` |" not in agent_readme} == set()
