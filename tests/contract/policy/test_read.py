"""The reader's dialect: what looks like text stays text, and every path knows its place."""

import pytest

from discreet_contract.errors import ConfigError, PolicyError
from discreet_contract.policy.read import MAX_POLICY_BYTES, read_policy_text
from policies import parsed


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("True", "True"),
        ("2027-06-30", "2027-06-30"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ('"true"', "true"),
        ("'7'", "7"),
        ("7", 7),
        ("-7", -7),
        ("0", 0),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("1.0e-3", 0.001),
        ("2e3", 2000.0),
        ("1:30", "1:30"),
        ("0777", "0777"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("9E", "9E"),
    ],
)
def test_a_scalar_means_what_it_looks_like(written, read):
    """Only JSON's numbers, `true`, `false` and null are not text."""
    text = parsed(f"key: {written}\n")

    assert text.problems == []
    assert text.value == {"key": read}
    assert type(text.value["key"]) is type(read)


def test_a_problem_stands_at_its_value_or_its_key():
    """Lines and columns count from 1; `on_key` points at the key."""
    text = parsed("a:\n  b: [x, y]\n")

    assert str(text.problem(("a", "b", 1), "RULE", "why")) == "p.yaml:2:10: RULE why"
    assert str(text.problem(("a", "b"), "RULE", "why", on_key=True)) == "p.yaml:2:3: RULE why"


def test_a_problem_at_a_path_that_is_not_there_stands_at_its_nearest_ancestor():
    """Something missing is reported where it should have been."""
    text = parsed("a:\n  b: 1\n")

    assert str(text.problem(("a", "c", "d"), "RULE", "why")) == "p.yaml:2:3: RULE why"


def test_nesting_is_bounded():
    """A bomb of brackets is a problem, not a crash."""
    text = parsed("key: " + "[" * 60 + "]" * 60)

    assert [problem.rule for problem in text.problems] == ["DEPTH"]


def test_a_reference_to_itself_is_an_alias():
    """YAML can describe a loop; a policy cannot."""
    assert {problem.rule for problem in parsed("key: &loop [*loop]\n").problems} == {"ALIAS"}


def test_an_oversized_file_is_refused(tmp_path):
    """A megabyte is plenty for a policy."""
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (MAX_POLICY_BYTES + 1))

    with pytest.raises(PolicyError, match=r"big\.yaml:1:1: SIZE") as caught:
        read_policy_text(path)

    assert caught.value.hint


def test_a_missing_file_says_what_it_was_for(tmp_path):
    """The operator's own mistake: which file, and what to name instead."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml:1: cannot read a policy: No such file") as caught:
        read_policy_text(tmp_path / "nowhere.yaml")

    assert "policies/examples" in caught.value.hint
