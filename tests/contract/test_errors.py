"""Exit codes are documented and distinct, problems sort as they stand in the file."""

from discreet_contract import errors
from discreet_contract.errors import DiscreetError, ExitCode, PolicyError, Problem


def test_the_tree_in_the_docstring_is_the_tree():
    """Every class is drawn, under its parent."""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, DiscreetError):
            assert name in (errors.__doc__ or ""), name


def test_exit_codes_are_distinct():
    """A script can tell what happened."""
    assert len({code.value for code in ExitCode}) == len(ExitCode)


def test_problems_are_printed_as_an_editor_reads_them():
    """file:line:column: RULE message, in the order of the file."""
    second, first = Problem("p", 10, 1, "A", "x"), Problem("p", 9, 3, "B", "y")

    assert str(PolicyError(sorted([second, first]))) == "p:9:3: B y\np:10:1: A x"


def test_a_policy_error_always_has_a_next_step():
    """Even one that was raised without a thought of it."""
    assert PolicyError([]).hint
