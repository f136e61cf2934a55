"""A signed policy with a feature of every aggregate, and the moment at which tests read them."""

import json
import textwrap

from device_bench import AGGREGATOR, ROOT, START
from discreet_agent.event import EventLine
from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import parse_policy_text
from discreet_contract.policy.release import sign_policy, verify_policy

NOW_MS = (START + 5 * 86_400 + 45_296) * 1000 + 789  # in the middle of everything
NOW = NOW_MS / 1000

_FROM = {"from": "playback.stopped"}
FEATURES = {
    name: _FROM | feature
    for name, feature in {
        "plays": {"aggregate": "count", "window": "1h"},
        "plays_today": {"aggregate": "count", "window": "1d", "alignment": "tumbling"},
        "evening_plays": {"aggregate": "count", "window": "7d", "where": {"==": [{"var": "evening"}, True]}},
        "seconds": {"aggregate": "sum", "value": "seconds", "window": "7d"},
        "seconds_year": {"aggregate": "sum", "value": "seconds", "window": "365d"},
        "seconds_by_genre": {"aggregate": "sum", "value": "seconds", "by": "genre", "window": "7d"},
        "mean": {"aggregate": "mean", "value": "seconds", "window": "2d"},
        "shortest": {"aggregate": "min", "value": "seconds", "window": "7d"},
        "longest": {"aggregate": "max", "value": "seconds", "window": "7d", "alignment": "tumbling"},
        "last_genre": {"aggregate": "last", "value": "genre"},
        "last_seconds": {"aggregate": "last", "value": "seconds", "by": "genre", "window": "30d"},
        "titles": {"aggregate": "distinct", "value": "title", "at_most": 3, "window": "7d"},
        "lengths": {"aggregate": "distinct", "value": "seconds", "at_most": 100, "window": "30d"},
        "lately": {"aggregate": "decayed_count", "half_life": "6h"},
        "top_genres": {"aggregate": "decayed_count", "half_life": "7d", "by": "genre", "top": 2},
        "seconds_lately": {"aggregate": "decayed_sum", "value": "seconds", "half_life": "2d", "window": "7d"},
        "median": {"aggregate": "quantile", "quantile": 0.5, "value": "seconds", "window": "7d"},
        "nearly_all": {"aggregate": "quantile", "quantile": 0.9, "value": "seconds", "window": "90d"},
        "idle": {"aggregate": "time_since"},
        "idle_evening": {"aggregate": "time_since", "where": {"==": [{"var": "evening"}, True]}, "window": "30d"},
        "days": {"aggregate": "active_days", "window": "28d"},
        "streak": {"aggregate": "streak", "window": "60d"},
        "sessions": {"aggregate": "session", "gap": "30m", "window": "1d"},
        "sessions_week": {"aggregate": "session", "gap": "10m", "window": "7d", "alignment": "tumbling"},
        "session_length": {"aggregate": "session", "gap": "2h", "window": "7d", "measure": "length"},
    }.items()
}

_HEAD = """
discreet: 1
fleet: testers
version: {version}
release: {{author: tests@example.org, reason: a policy for tests, migration: none}}
consent: {consent}
aggregator:
  keys: [{{id: test, public_key: "{public_key}", from: 2020-01-01, until: 2035-01-01}}]
budget: {{per_28_days: 1000, per_365_days: 1000, lifetime: 1000, exhaustible: "tests run into the caps"}}
lateness: 1m
spread: 0s
signals:
  playback.stopped:
    version: 1-0-0
    role: both
    kind: outcome
    sensitivity: sensitive
    why: Playback ended, in tests
    owner: tests@example.org
    expires: 2034-01-01
    retention: {retention}
    fields:
      genre: {{type: category, values: {genres}}}
      seconds: {{type: number, min: 0, max: 3600, grid: 1}}
      evening: {{type: boolean, required: false}}
      title: {{type: text, required: false}}
  app.crashed:
    version: 1-0-0
    role: both
    kind: outcome
    sensitivity: technical
    why: The app crashed, in tests
    owner: tests@example.org
    expires: 2034-01-01
    retention: {retention}
"""


def personal_text(
    *, features=None, version=1, retention="14d", consent="managed", genres="[news, drama, sport]", rest=""
):
    """The policy as its operator writes it."""
    head = _HEAD.format(
        version=version,
        public_key=AGGREGATOR.public_key.encode().hex(),
        retention=retention,
        consent=consent,
        genres=genres,
    )
    features = FEATURES if features is None else features
    return head + f"features: {json.dumps(features)}\n" + textwrap.dedent(rest)


def personal_policy(**changes):
    """The same, signed and verified."""
    built = build_policy(parse_policy_text(personal_text(**changes).encode(), "policy.yaml"))
    return verify_policy(sign_policy(built, [ROOT]), [ROOT.verify_key.encode().hex()])


def played(at, *, event_id=None, retracts=None, **fields):
    """Playback that stopped at a second."""
    fields = {} if retracts else {"genre": "news", "seconds": 60} | fields
    return EventLine("playback.stopped", "1-0-0", round(at * 1000), fields, id=event_id, retracts=retracts)


def crashed(at):
    """The app crashed at a second."""
    return EventLine("app.crashed", "1-0-0", round(at * 1000), {})


def record(device, *lines):
    """Record events of which none may be refused."""
    assert [refused for refused in device.pipeline.record(lines) if refused is not None] == []
