"""The OFREP OpenAPI file itself, driven by schemathesis against the real edge, and its schemas held against answers."""

import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from apps import FLAGS, MemoryApps
from discreet_agent.personal.values import Failure
from policies import ROOT
from serving import READER, serving

CASES = Path(os.environ.get("DISCREET_CASES", ROOT.parent / "shared" / "cases")) / "ofrep" / "openapi.yaml"
EXAMPLES = 60  # for each operation and phase
ALL = "/ofrep/v1/evaluate/flags"


def openapi():
    """The file, with one slip mended and two rules taken out that we do not hold clients to."""
    if not CASES.is_file():
        pytest.skip(f"OFREP's OpenAPI file is not {CASES}; set DISCREET_CASES")
    read = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    schemas = read["components"]["schemas"]
    # A flag without a value may have any properties, so that every other kind of answer is two kinds at once.
    kinds = schemas["evaluationSuccess"]["allOf"][1]
    kinds["anyOf"] = kinds.pop("oneOf")
    items = schemas["bulkEvaluationSuccess"]["properties"]["flags"]["items"]
    items["anyOf"] = items.pop("oneOf")
    # Without context or targeting key the question is about this device (docs/serving.md).
    for name, key in (
        ("context", "targetingKey"),
        ("evaluationRequest", "context"),
        ("bulkEvaluationRequest", "context"),
    ):
        schemas[name]["required"].remove(key)
        if not schemas[name]["required"]:
            del schemas[name]["required"]
    # What a client says about the event that made it ask is not used, so nothing is wrong with it.
    read["paths"][ALL]["post"]["parameters"] = read["paths"][ALL]["post"]["parameters"][:1]
    return read


def drive(served, path, *more):
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(path), "--url", f"http://{served.address}"]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--no-color", *more]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=path.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "openapi.yaml"
    file.write_text(yaml.safe_dump(openapi()), encoding="utf-8")
    return file


def working_flags():
    return {key: answer for key, answer in FLAGS.items() if not isinstance(answer, Failure)}


def test_what_the_file_says_holds_for_whatever_may_be_asked(file):
    """Status codes, forms, headers; what breaks the file's rules is refused, what keeps them is not."""
    apps = MemoryApps(flags=working_flags())
    with serving(apps=apps) as served:
        said = drive(served, file, "--exclude-checks", "ignored_auth", "--seed", "1")
        assert served.failures == []
    assert "Tested: 2" in said
    assert apps.evaluations > 100


def test_without_a_token_nothing_is_answered_whatever_is_asked(file):
    with serving({"player": READER}) as served:
        drive(served, file, "--checks", "ignored_auth,not_a_server_error,status_code_conformance", "--seed", "1")
    assert served.apps.evaluations == 0


def check(schema, answer):
    root = openapi()
    jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{schema}", **root}).validate(answer)


@pytest.mark.parametrize("key", FLAGS)
def test_each_answer_has_the_form_that_the_file_gives_it(key):
    with serving() as served:
        status, answer, _ = served.ask("POST", f"{ALL}/{key}", {})
    check("serverEvaluationSuccess" if status == 200 else "evaluationFailure", answer)


def test_other_answers_have_their_form():
    with serving() as served:
        check("bulkEvaluationSuccess", served.ask("POST", ALL, {})[1])
        check("flagNotFound", served.ask("POST", f"{ALL}/cows", {})[1])
        check("bulkEvaluationFailure", served.ask("POST", ALL, b"{")[1])
        check("evaluationFailure", served.ask("POST", f"{ALL}/autoplay", b"{")[1])
        served.apps.is_out_of_order = True
        check("generalErrorResponse", served.ask("POST", ALL, {})[1])
