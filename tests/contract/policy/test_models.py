"""Weights of a score may come from a file that a training wrote; what is signed holds the weights themselves."""

import json

import pytest
from jsonschema import Draft202012Validator

from discreet_contract.errors import PolicyError
from discreet_contract.policy.compile import canonical_json, load_policy
from discreet_contract.policy.diff import diff_policies
from discreet_contract.policy.read import MAX_MODEL_BYTES
from discreet_contract.policy.schema import policy_schema
from policies import MEDIA

INLINE = "binge: {kind: logistic, bias: -1.2, weights: {minutes_7d: 0.00007, evenings: 0.2}, fallbacks: {evenings: 0}}"
NAMED = "binge: {kind: logistic, model: models/binge.json}"
MODEL = {"bias": -1.2, "weights": {"minutes_7d": 0.00007, "evenings": 0.2}, "fallbacks": {"evenings": 0}}


@pytest.fixture
def policy(tmp_path):
    """A policy whose score names a model, which lies in a folder beside it."""
    text = MEDIA.read_text(encoding="utf-8")
    assert INLINE in text
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "binge.json").write_text(json.dumps(MODEL, indent=2), encoding="utf-8")
    path = tmp_path / "policy.yaml"
    path.write_text(text.replace(INLINE, NAMED), encoding="utf-8")
    return path


def rename(policy, name):
    policy.write_text(policy.read_text(encoding="utf-8").replace("models/binge.json", name), encoding="utf-8")


def problems(policy):
    with pytest.raises(PolicyError) as caught:
        load_policy(policy)
    return [str(problem).replace(f"{policy.parent}/", "") for problem in caught.value.problems]


def test_the_signed_policy_holds_the_weights(policy):
    """And the name of the file that they came from, which is all that it differs by."""
    compiled, inline = load_policy(policy), load_policy(MEDIA)
    score = json.loads(canonical_json(compiled))["scores"]["binge"]
    assert score.pop("model") == "models/binge.json"
    assert score == json.loads(canonical_json(inline))["scores"]["binge"]


def test_a_policy_without_models_is_signed_as_before():
    """The key is left out of the canonical form."""
    assert b'"model":' not in canonical_json(load_policy(MEDIA))


def test_a_folder_takes_models_in_too(policy):
    """Beside the file that names them."""
    assert load_policy(policy.parent) == load_policy(policy)


def test_a_change_of_the_model_is_a_change_of_the_policy(policy):
    """Told weight by weight; another name for the same weights is cosmetic."""
    before = load_policy(policy)
    model = policy.parent / "models" / "binge.json"
    model.rename(model.with_name("other.json"))
    rename(policy, "models/other.json")
    renamed = load_policy(policy)
    [change] = diff_policies(before, renamed).changes
    assert (".".join(change.path), change.compatibility.name) == ("scores.binge.model", "COSMETIC")
    model.with_name("other.json").write_text(json.dumps(MODEL | {"bias": -2.0}), encoding="utf-8")
    [change] = diff_policies(renamed, load_policy(policy)).changes
    assert change.path == ("scores", "binge", "bias")


@pytest.mark.parametrize("name", ["../binge.json", "/etc/passwd.json", "models/../../x.json", ".hidden.json", "x.txt"])
def test_a_model_lies_beside_the_policy(policy, name):
    """Nothing outside its folder is ever read."""
    rename(policy, name)
    [problem] = problems(policy)
    assert "MODEL" in problem


def test_a_model_that_is_not_there_is_one_problem(policy):
    """At the key that names it; what it would have held is not reported again."""
    rename(policy, "models/absent.json")
    [problem] = problems(policy)
    assert "MODEL cannot read models/absent.json: No such file or directory" in problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"weights": {"minuts_7d": 1}}', ["models/binge.json:1:14: UNKNOWN_FEATURE"]),
        ('{"weights": {"minutes_7d": "much"}}', ["models/binge.json:1:28: VALUE"]),
        ('{"weights": {"minutes_7d": 1}, "kind": "linear"}', ["models/binge.json:1:32: DUPLICATE_KEY"]),
        ('{"weights": {"minutes_7d": 1}, "trained": "2027"}', ["models/binge.json:1:32: UNKNOWN_KEY"]),
        ('{"bias": 1}', ["policy.yaml:60:3: MISSING_KEY"]),
        ("[1]", ["models/binge.json:1:1: TYPE", "policy.yaml:60:34: MODEL"]),
        ("{", ["models/binge.json:1:2: YAML", "policy.yaml:60:34: MODEL"]),
        (" " * (MAX_MODEL_BYTES + 1), ["models/binge.json:1:1: SIZE", "policy.yaml:60:34: MODEL"]),
    ],
)
def test_a_problem_names_the_file_it_is_in(policy, content, expected):
    """The model's own line and column where the fault is the model's."""
    (policy.parent / "models" / "binge.json").write_text(content, encoding="utf-8")
    found = problems(policy)
    assert len(found) == len(expected), found
    for problem, start in zip(sorted(found), expected, strict=True):
        assert problem.startswith(start), found


@pytest.mark.parametrize(
    ("score", "is_legal"),
    [
        ({"kind": "linear", "weights": {"a": 1}}, True),
        ({"kind": "linear", "model": "a.json"}, True),
        ({"kind": "linear"}, False),
        ({"kind": "linear", "model": "../a.json"}, False),
    ],
)
def test_the_schema_wants_weights_or_a_model(score, is_legal):
    """So that an editor is content with either."""
    schema = policy_schema()
    assert Draft202012Validator({"$ref": "#/$defs/Score", "$defs": schema["$defs"]}).is_valid(score) is is_legal
