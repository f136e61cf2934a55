"""A policy may lie in several files; every message still names the file it is about."""

import pytest

from discreet_contract.errors import PolicyError
from discreet_contract.policy.compile import canonical_json, load_policy
from policies import FLIGHTS

TEXT = FLIGHTS.read_text(encoding="utf-8")
HEAD, REST = TEXT.split("signals:\n")
SIGNALS, METRICS = REST.split("metrics:\n")
FIRST, SECOND = METRICS.split("  main_origin:\n")


@pytest.fixture
def folder(tmp_path):
    files = {
        "a.yaml": HEAD,
        "metrics/late.yaml": "metrics:\n" + FIRST,
        "metrics/origin.yaml": "metrics:\n  main_origin:\n" + SECOND,
        "signals.yaml": "signals:\n" + SIGNALS,
        "README.md": "not a policy",
    }
    (tmp_path / "metrics").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def problems(folder):
    with pytest.raises(PolicyError) as caught:
        load_policy(folder)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def add(folder, name, text):
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_folder_is_the_same_policy_as_one_file(folder):
    """Down to the hash."""
    assert canonical_json(load_policy(folder)) == canonical_json(load_policy(FLIGHTS))


def test_a_problem_names_its_own_file(folder):
    """Shape and model problems alike."""
    late = folder / "metrics" / "late.yaml"
    late.write_text(late.read_text().replace("from: flight.departed", "from: flight.left"))
    assert problems(folder) == [
        "metrics/late.yaml:3:11: UNKNOWN_SIGNAL no signal 'flight.left'; did you mean 'flight.departed'?"
    ]

    late.write_text(late.read_text().replace("type: binary", "typ: binary"))
    assert [line.split(" ")[0:2] for line in problems(folder)] == [
        ["metrics/late.yaml:2:3:", "MISSING_KEY"],
        ["metrics/late.yaml:6:5:", "UNKNOWN_KEY"],
    ]


def test_a_thing_in_two_files_is_a_problem_at_both(folder):
    """Neither wins."""
    add(folder, "signals.yaml", "metrics:\n  main_origin: {from: flight.departed}\n")

    found = problems(folder)

    assert found[0].startswith("metrics/origin.yaml:2:3: DUPLICATE_KEY key 'metrics.main_origin' also stands in ")
    assert found[0].endswith("signals.yaml:19")
    assert found[1].startswith("signals.yaml:19:3: DUPLICATE_KEY key 'metrics.main_origin' also stands in ")
    assert found[1].endswith("metrics/origin.yaml:2")
    assert len(found) == 2


def test_what_is_no_section_stands_once(folder):
    """Two versions are a problem, even where they agree."""
    add(folder, "signals.yaml", "version: 1\n")

    assert [line.split(" ")[0] for line in problems(folder)] == ["a.yaml:4:1:", "signals.yaml:18:1:"]


def test_unreadable_files_are_reported_together(folder):
    """With the problems of those that can be read."""
    add(folder, "a.yaml", "lateness: 2h\n")
    add(folder, "signals.yaml", "a: [\n")
    add(folder, "metrics/late.yaml", "\tb: 1\n")

    assert [line.split(" ")[:2] for line in problems(folder)] == [
        ["a.yaml:24:1:", "DUPLICATE_KEY"],
        ["metrics/late.yaml:13:1:", "YAML"],
        ["signals.yaml:19:1:", "YAML"],
    ]


def test_a_file_that_is_no_mapping_is_refused(folder):
    """A list has no sections."""
    (folder / "z.yaml").write_text("- a\n")

    assert problems(folder) == ["z.yaml:1:1: TYPE a file of a policy folder is a mapping"]


def test_a_folder_without_policies_is_refused(tmp_path):
    """An empty policy is none."""
    with pytest.raises(PolicyError, match=r"FOLDER a policy folder holds one to 200 files"):
        load_policy(tmp_path)
