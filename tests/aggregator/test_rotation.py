"""A key's days: into the policy source, through the overlap, and destroyed when nothing needs it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from discreet_aggregator.cli import aggregator
from discreet_aggregator.keys import load_keys, new_key
from discreet_aggregator.rotation import check_retirement, key_uses, with_key
from discreet_aggregator.store.store import Store
from discreet_contract.errors import ConfigError, DiscreetError
from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import parse_policy_text

KEY = ("k2", "11" * 32, "2029-06-01", "2030-06-01")
BLOCK = """aggregator:
  # who can open the envelopes
  keys:
    - id: k1  # the first
      public_key: "{public}"
      from: 2020-01-01
      until: 2030-01-01   # not a day longer

    # the end of the keys
budget:"""
LINES = """aggregator:
    keys:
    - {{id: k1, public_key: "{public}", from: 2020-01-01, until: 2030-01-01}}  # the only one
budget:"""
TODAY = datetime.now(UTC).date()


def source(fleet, form=""):
    text = (fleet.folder / "one.yaml").read_text()
    if form:
        at, end = text.index("aggregator:"), text.index("\n", text.index("aggregator:"))
        budget = text.index("budget:")
        line = text[budget : text.index("\n", budget)]
        text = text[:budget] + text[at:] if budget < at else text
        at, end = text.index("aggregator:"), text.index("\n", text.index("aggregator:"))
        text = text[:at] + form.format(public=fleet.public) + line.removeprefix("budget:") + text[end:]
    return text.encode()


@pytest.mark.parametrize("form", ["", BLOCK, LINES])
def test_a_key_is_added_and_nothing_else_changes(fleet, form):
    """In brackets, in block form, in lines: every other byte stays, comments among them."""
    before = source(fleet, form)
    after = with_key(before, "p.yaml", KEY)
    keys = build_policy(parse_policy_text(after, "p.yaml")).aggregator.keys
    assert [(key.id, key.from_, key.until) for key in keys][1:] == [("k2", *KEY[2:])]
    at = next(n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b)
    added = len(after) - len(before)
    assert any(after[:n] + after[n + added :] == before for n in range(max(at - added, 0), at + 1))


def test_a_key_gets_its_days_once(fleet):
    """Two lines for one id would be two answers to one question."""
    with pytest.raises(ConfigError, match="already"):
        with_key(source(fleet), "p.yaml", ("k1", *KEY[1:]))


def test_a_key_is_needed_until_its_last_report_is_too_late(fleet):
    """The last day, lateness, spread and late horizon: 38 days here, to the second."""
    keys = load_keys(fleet.folder / "keys")
    [use] = key_uses(fleet.shelf, keys)
    assert use.over_at == datetime(2030, 1, 1, tzinfo=UTC).timestamp() + 35 * 86_400 + 3 * 3600
    assert (use.retire_from, use.held, use.versions) == ("2030-02-06", "yes", (1,))
    with pytest.raises(ConfigError, match="2030-02-06"):
        check_retirement("k1", [use], use.over_at * 1000 - 1)
    check_retirement("k1", [use], use.over_at * 1000)


def test_a_key_that_nobody_names_yet_is_not_destroyed_by_the_way(fleet):
    """It may be meant for the next policy; and one that is elsewhere cannot be destroyed here."""
    new_key(fleet.folder / "keys", "k2")
    uses = key_uses(fleet.shelf, load_keys(fleet.folder / "keys"))
    for missing, words in (("k2", "no policy here names"), ("k3", "no private key")):
        with pytest.raises(ConfigError, match=words):
            check_retirement(missing, uses, 2**50)


def run(*arguments):
    done = CliRunner().invoke(aggregator, ["keys", *arguments])
    if isinstance(done.exception, DiscreetError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_from_a_new_key_to_its_end_by_commands(fleet):
    """new, activate, list, retire: each says what comes next, and refuses what would lose reports."""
    config = str(fleet.write_config(1883))
    policy = fleet.folder / "one.yaml"
    with pytest.raises(ConfigError, match=r"k2\.key"):
        run("activate", "k2", str(policy), "-c", config)
    run("new", "k2", "-c", config)
    with pytest.raises(ConfigError, match="no key would be valid"):
        run("activate", "k2", str(policy), "--from", "2030-03-01", "-c", config)
    said = run("activate", "k2", str(policy), "--days", "90", "-c", config)
    assert "day(s) of overlap" in said
    assert "publish" in said
    fleet.release_text("two", policy.read_text().replace("version: 1\n", "version: 2\n", 1))
    (fleet.folder / "one.yaml").unlink()
    keys = {key["id"]: key for key in json.loads(run("list", "--json", "-c", config))["keys"]}
    assert keys["k1"]["versions"] == [1, 2]
    assert (keys["k2"]["versions"], keys["k2"]["held"]) == ([2], "yes")
    assert keys["k2"]["begins"] == TODAY.isoformat()
    assert keys["k2"]["ends"] == (TODAY + timedelta(days=90)).isoformat()
    assert "retire from" in run("list", "-c", config)
    with pytest.raises(ConfigError, match="may arrive and count"):
        run("retire", "k1", "-c", config)
    run("retire", "k1", "--force", "-c", config)
    assert not (fleet.folder / "keys" / "k1.key").exists()


def test_a_clock_that_leapt_ahead_destroys_nothing(fleet):
    """What counts is the time of admission, where it is behind the clock."""
    (fleet.folder / "now").write_text(str(1_950_000_000_000))
    config = str(fleet.write_config(1883, replay_clock='"now"'))
    (fleet.folder / "state").mkdir()
    with Store(str(fleet.folder / "state" / "aggregator.db")) as store:
        fleet.pipeline(store).process([])
    with pytest.raises(ConfigError, match="may arrive and count"):
        run("retire", "k1", "-c", config)
