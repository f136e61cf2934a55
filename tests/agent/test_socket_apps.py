"""Apps ask over the socket what they ask over HTTP: within their scopes, in order with what they said before."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps import MemoryApps
from discreet_agent.receive.personal_socket import APP_QUERIES
from discreet_contract.policy.operation import Sender
from other_user import as_root, speak_as
from receiving import Recorder, receiving, talk

ALICE = 31_001
SESAME = "open sesame"
EVENT = {"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {"seconds": 1}}
READER = Sender(uid=ALICE, features=("minutes_7d",), segments=("binge",), flags=("autoplay",))


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # other users may pass
        yield Path(folder) / "agent.sock"


@pytest.fixture
def apps():
    return MemoryApps()


def test_an_app_reads_features_scores_and_segments(path, apps):
    with receiving(path, Recorder(), apps=apps):
        features, scores, segments = talk(path, *({"query": name} for name in ("features", "scores", "segments")))
    assert features["features"]["minutes_7d"]["value"] == 630
    assert scores == {"scores": {"evening": {"value": 0.25, "fallbacks": ["evenings"]}}}
    assert segments["segments"]["binge"]["inside"] is True


def test_an_app_evaluates_one_flag_or_all(path, apps):
    asked = {"query": "evaluate", "flag": "autoplay", "context": {"country": "NL"}}
    with receiving(path, Recorder(), apps=apps):
        one, everything, unknown, retired = talk(
            path,
            asked,
            {"query": "evaluate"},
            {"query": "evaluate", "flag": "cows"},
            {"query": "evaluate", "flag": "retired"},
        )
    assert one == {"flag": "autoplay", "variant": "on", "reason": "TARGETING_MATCH", "value": True}
    assert apps.contexts[0] == {"country": "NL"}
    assert sorted(everything["flags"]) == sorted(apps.flags)
    assert everything["flags"]["broken"] == {"error": "PARSE_ERROR", "detail": "targeting names no variant"}
    assert unknown == {"flag": "cows", "error": "FLAG_NOT_FOUND", "detail": "no such flag"}
    assert retired == {"flag": "retired", "variant": None, "reason": "DISABLED"}


def test_an_app_asks_why_and_tells_what_it_showed(path, apps):
    exposures = [{"flag": "autoplay", "variant": "on", "count": 2}, {"flag": "autoplay"}, {"flag": "cows"}]
    with receiving(path, Recorder(), apps=apps):
        why, unknown, tracked = talk(
            path,
            {"query": "explain", "flag": "autoplay"},
            {"query": "explain", "flag": "cows"},
            {"query": "track", "exposures": exposures},
        )
    assert (why["flag"], why["variant"]) == ("autoplay", "on")
    assert unknown == {"error": "FLAG_NOT_FOUND", "detail": "no such flag"}
    assert [item["seen"] for item in tracked["exposures"]] == ["NOTED", "KNOWN", "FLAG_NOT_FOUND"]


@pytest.mark.parametrize(
    "line",
    [
        {"query": "evaluate", "flag": "x" * 65},
        {"query": "evaluate", "flag": 7},
        {"query": "evaluate", "context": [1]},
        {"query": "evaluate", "flag": "autoplay", "user": "x"},
        {"query": "track", "exposures": [{"flag": "autoplay", "count": 0}]},
        {"query": "track", "exposures": [{"flag": "autoplay"}] * 101},
        {"query": "x" * 33},
        {"query": None, "events": None, "flag": "autoplay"},
    ],
)
def test_a_question_out_of_form_is_refused_like_any_line(path, apps, line):
    with receiving(path, Recorder(), apps=apps):
        answers = talk(path, line)
    assert [item["reason"] for item in answers[0]["refused"]] == ["MALFORMED"]
    assert apps.exposures == []


def test_a_question_that_is_too_long_is_refused(path, apps):
    with receiving(path, Recorder(), apps=apps):
        answers = talk(path, {"query": "evaluate", "context": {"x": "y" * 70_000}})
    assert [item["reason"] for item in answers[0]["refused"]] == ["TOO_LARGE"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ({"query": "explain"}, "MALFORMED"),
        ({"query": "evaluate", "context": {"targetingKey": 7}}, "INVALID_CONTEXT"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(path, apps, line, error):
    with receiving(path, Recorder(), apps=apps):
        assert talk(path, line)[0]["error"] == error


def test_a_store_that_cannot_be_read_is_said_and_the_connection_goes_on(path, apps):
    apps.is_out_of_order = True
    with receiving(path, Recorder(), apps=apps):
        answers = talk(path, {"query": "features"}, EVENT)
    assert answers[0] == {
        "error": "STORE_UNAVAILABLE",
        "detail": "the device's store cannot be used now",
        "next": "free it",
    }
    assert answers[1] == {"ok": 1}


def test_what_an_app_said_before_it_asked_counts(path, apps):
    """Its events are committed before its question is answered."""
    recorder = Recorder()
    seen = []
    apps.evaluate = lambda *_: seen.append(len(recorder.events)) or apps.flags["autoplay"]
    with receiving(path, recorder, apps=apps):
        answers = talk(path, EVENT, EVENT, {"query": "evaluate", "flag": "autoplay"})
    assert seen == [2]
    assert answers[:2] == [{"ok": 1}] * 2


@as_root
def test_an_app_reads_within_its_scopes_and_nothing_about_the_agent(path, apps):
    """A name outside is answered like one that does not exist."""
    asked = [
        {"query": "features"},
        {"query": "segments"},
        {"query": "scores"},
        {"query": "evaluate"},
        {"query": "evaluate", "flag": "rows"},
        {"query": "evaluate", "flag": "cows"},
        {"query": "status"},
        {"query": "features", "owner": True},
        {"query": "no_such_query"},
    ]
    with receiving(path, Recorder(), {"alice": READER}, mode=0o666, apps=apps):
        features, segments, scores, flags, hidden, absent, *refused = speak_as(path, ALICE, *asked)
    assert list(features["features"]) == ["minutes_7d"]
    assert list(segments["segments"]) == ["binge"]
    assert scores["scores"] == {}
    assert list(flags["flags"]) == ["autoplay"]
    assert {**hidden, "flag": ""} == {**absent, "flag": ""}
    assert [answer["error"] for answer in refused] == ["QUERY_NOT_ALLOWED"] * 3


@as_root
def test_a_stranger_reads_nothing(path, apps):
    with receiving(path, Recorder(), {"alice": READER}, mode=0o666, apps=apps):
        answers = speak_as(path, 31_002, {"query": "features"}, {"query": "track", "exposures": [{"flag": "autoplay"}]})
    assert [answer["error"] for answer in answers] == ["SENDER_UNKNOWN"] * 2
    assert apps.exposures == []


def test_the_owner_reads_everything_where_it_says_so_even_if_an_entry_states_it(path, apps):
    """Where everything runs as one user, an entry's scopes hold for its programs, and the owner still sees all."""
    own = Sender(uid=os.geteuid(), flags=("autoplay",))
    with receiving(path, Recorder(), {"app": own}, apps=apps):
        mine, everything = talk(path, {"query": "evaluate"}, {"query": "evaluate", "owner": True})
    assert list(mine["flags"]) == ["autoplay"]
    assert sorted(everything["flags"]) == sorted(apps.flags)


def test_a_token_opens_its_scopes(path, apps):
    by_token = Sender(token_sha256=hashlib.sha256(SESAME.encode()).hexdigest(), features=("minutes_7d",))
    with receiving(path, Recorder(), {"app": by_token}, apps=apps):
        _, features = talk(path, {"token": SESAME}, {"query": "features"})
    assert list(features["features"]) == ["minutes_7d"]


def test_without_personalization_there_is_nothing_to_ask_for(path):
    with receiving(path, Recorder()):
        assert talk(path, {"query": "features"}) == [{"you asked": "features"}]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_questions = st.fixed_dictionaries(
    {"query": st.sampled_from([*sorted(APP_QUERIES), "status"]) | _json},
    optional={
        "flag": st.sampled_from(["autoplay", "cows", ""]) | _json,
        "context": st.dictionaries(st.sampled_from(["targetingKey", "country", ""]), _json, max_size=3) | _json,
        "exposures": st.lists(st.fixed_dictionaries({"flag": st.just("rows")}, optional={"count": _json}), max_size=3)
        | _json,
        "owner": st.booleans() | _json,
    },
)


@settings(max_examples=60, deadline=None)
@given(questions=st.lists(_questions, min_size=1, max_size=8))
def test_whatever_is_asked_each_line_has_one_answer(questions):
    """And the line after it is served as before."""
    with tempfile.TemporaryDirectory() as folder, receiving(Path(folder) / "s", Recorder(), apps=MemoryApps()):
        answers = talk(Path(folder) / "s", *questions, {"query": "segments"})
    assert len(answers) == len(questions) + 1
    assert answers[-1]["segments"]["binge"]["inside"] is True
