"""What apps read and report over HTTP: features, scores, segments, explanations, exposures and outcomes."""

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discreet_agent.event import EventRefusal, Refused
from discreet_agent.personal.apps import Exposure
from serving import READER, TOKEN, serving

AS_READER = {"Authorization": f"Bearer {TOKEN}"}
OPENED = {"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {"seconds": 3}, "id": "a"}


@pytest.fixture(scope="module")
def served():
    with serving() as served:
        yield served


@pytest.fixture
def fresh():
    with serving() as served:
        yield served


def test_features_come_with_how_far_they_can_be_trusted(served):
    status, answer, headers = served.ask("GET", "/v1/features")
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert list(answer["features"]) == ["evenings", "minutes_7d", "top_genres"]
    assert answer["features"]["minutes_7d"] == {
        "value": 630,
        "version": "ab12",
        "as_of": "2023-11-14T22:13:20.000Z",
        "coverage": 0.8765,
        "fallback": None,
        "at_least": False,
        "partial": False,
    }
    assert answer["features"]["top_genres"]["value"] == {"news": 4.5, "sport": 1.0}
    assert answer["features"]["evenings"]["value"] is None
    assert answer["features"]["evenings"]["fallback"] == "unavailable"


def test_one_feature_is_the_same_by_itself(served):
    _, answer, _ = served.ask("GET", "/v1/features")
    status, alone, _ = served.ask("GET", "/v1/features/minutes_7d")
    assert (status, alone) == (200, {"name": "minutes_7d"} | answer["features"]["minutes_7d"])


def test_segments_and_scores(served):
    assert served.ask("GET", "/v1/segments")[:2] == (
        200,
        {
            "segments": {
                "binge": {"inside": True, "since": "2023-11-14T22:13:20.000Z"},
                "night_owl": {"inside": False, "since": None},
            }
        },
    )
    assert served.ask("GET", "/v1/scores")[:2] == (
        200,
        {"scores": {"evening": {"value": 0.25, "fallbacks": ["evenings"]}}},
    )


def test_an_explanation_is_asked_for_with_a_context_or_without(served):
    status, answer, _ = served.ask("GET", "/v1/explain/autoplay")
    assert (status, answer["flag"], served.apps.contexts[-1]) == (200, "autoplay", {})
    status, again, _ = served.ask("POST", "/v1/explain/autoplay", {"context": {"country": "NL"}})
    assert (status, again, served.apps.contexts[-1]) == (200, answer, {"country": "NL"})


def test_what_does_not_exist_is_said_in_words(served):
    assert served.ask("GET", "/v1/features/cows")[:2] == (404, {"error": "NOT_FOUND", "detail": "no such feature"})
    assert served.ask("GET", "/v1/explain/cows")[:2] == (404, {"error": "FLAG_NOT_FOUND", "detail": "no such flag"})
    assert served.ask("GET", "/v1/explain/broken")[0] == 400


def test_what_is_outside_the_scope_does_not_exist():
    """A score that is made of a feature outside it neither."""
    with serving({"player": READER}) as served:
        features = served.ask("GET", "/v1/features", None, AS_READER)[1]["features"]
        segments = served.ask("GET", "/v1/segments", None, AS_READER)[1]["segments"]
        scores = served.ask("GET", "/v1/scores", None, AS_READER)[1]["scores"]
        answers = {
            kind: [served.ask("GET", f"/v1/{kind}/{name}", None, AS_READER)[:2] for name in names]
            for kind, names in {"features": ("evenings", "cows"), "explain": ("rows", "cows")}.items()
        }
    assert (list(features), list(segments), scores) == (["minutes_7d"], ["binge"], {})
    assert answers["features"][0] == answers["features"][1]
    assert answers["explain"][0] == answers["explain"][1]


@pytest.mark.parametrize("path", ["/v1/features", "/v1/segments", "/v1/scores", "/v1/explain/autoplay", "/v1/track"])
def test_a_stranger_reads_nothing(path):
    with serving({"player": READER}) as served:
        method, body = ("POST", {"exposures": [{"flag": "autoplay"}]}) if path == "/v1/track" else ("GET", None)
        status, answer, _ = served.ask(method, path, body)
    assert (status, answer["error"]) == (401, "NO_TOKEN")
    assert served.apps.exposures == []


def test_exposures_and_outcomes_are_taken_and_each_is_answered(fresh):
    tracked = {
        "exposures": [
            {"flag": "autoplay", "variant": "on", "count": 3},
            {"flag": "autoplay"},
            {"flag": "cows"},
        ],
        "events": [OPENED, {"signal": 7}],
    }
    status, answer, _ = fresh.ask("POST", "/v1/track", tracked)
    assert status == 200
    assert answer["exposures"] == [
        {"flag": "autoplay", "seen": "NOTED"},
        {"flag": "autoplay", "seen": "KNOWN"},
        {"flag": "cows", "seen": "FLAG_NOT_FOUND"},
    ]
    assert answer["events"]["ok"] == 1
    assert [(item["index"], item["reason"]) for item in answer["events"]["refused"]] == [(1, "MALFORMED")]
    assert fresh.apps.exposures == [Exposure("autoplay", "on", 3), Exposure("autoplay")]
    assert [event.id for event in fresh.recorder.events] == ["a"]


def test_an_evaluation_is_no_exposure(fresh):
    fresh.ask("POST", "/ofrep/v1/evaluate/flags", {"context": {}})
    fresh.ask("POST", "/ofrep/v1/evaluate/flags/autoplay", {"context": {}})
    fresh.ask("GET", "/v1/explain/autoplay")
    assert fresh.apps.exposures == []


def test_outcomes_go_under_the_rules_for_senders():
    """As over every other way in: its own signals, under its own name."""
    with serving({"player": READER}) as served:
        events = [OPENED, OPENED | {"signal": "door.closed"}]
        _, answer, _ = served.ask("POST", "/v1/track", {"events": events}, AS_READER)
    assert [(item["index"], item["reason"]) for item in answer["events"]["refused"]] == [(1, "SIGNAL_NOT_ALLOWED")]
    assert served.recorder.senders == ["player"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        {"exposures": [{"flag": "autoplay", "count": 0}]},
        {"exposures": [{"flag": "autoplay", "count": 1_000_001}]},
        {"exposures": [{"flag": ""}]},
        {"exposures": [{"flag": "x" * 65}]},
        {"exposures": [{"flag": "autoplay", "seen": True}]},
        {"exposures": [{"flag": "autoplay"}] * 101},
        {"events": [OPENED] * 1001},
        {"evaluations": []},
    ],
)
def test_what_is_no_report_is_refused_as_a_whole(fresh, body):
    status, answer, _ = fresh.ask("POST", "/v1/track", body)
    assert (status, answer["error"]) == (400, "BAD_REQUEST")
    assert fresh.apps.exposures == []
    assert fresh.recorder.events == []


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_report_that_would_unfold_in_memory_is_refused_before_it_does(fresh, is_packed):
    """Sixteen million zeros are a small body in gzip, and a gigabyte of objects."""
    body = b'{"events": [' + b"0," * (7_000_000 if is_packed else 1_000_000) + b"0]}"
    headers = {"Content-Encoding": "gzip"} if is_packed else {}
    status, answer, _ = fresh.ask("POST", "/v1/track", gzip.compress(body, 1) if is_packed else body, headers)
    assert (status, answer["error"]) == (413, "BODY_TOO_LARGE")


def test_where_exposures_cannot_be_stored_nothing_is_and_the_app_asks_again(fresh):
    """Had the events been stored, sending the same again would store them twice."""
    fresh.apps.is_out_of_order = True
    status, answer, headers = fresh.ask("POST", "/v1/track", {"exposures": [{"flag": "autoplay"}], "events": [OPENED]})
    assert (status, answer["error"], headers["Retry-After"]) == (503, "STORE_UNAVAILABLE", "5")
    assert fresh.recorder.events == []
    assert fresh.ask("GET", "/v1/features")[0] == 503


def test_events_that_cannot_be_stored_are_answered_one_by_one(fresh):
    fresh.recorder._refuse = lambda _event: Refused(EventRefusal.STORE_UNAVAILABLE, "later")
    status, answer, _ = fresh.ask("POST", "/v1/track", {"exposures": [{"flag": "autoplay"}], "events": [OPENED]})
    assert status == 200
    assert answer["exposures"][0]["seen"] == "NOTED"
    assert answer["events"] == {"ok": 0, "refused": [{"index": 0, "reason": "STORE_UNAVAILABLE", "detail": "later"}]}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
_bodies = st.one_of(
    st.binary(max_size=200),
    st.fixed_dictionaries(
        {}, optional={"exposures": st.lists(_json, max_size=3), "events": st.lists(_json, max_size=3)}
    ),
    st.fixed_dictionaries({"context": _json}),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_bodies, path=st.sampled_from(["/v1/track", "/v1/explain/autoplay"]))
def test_no_body_brings_the_edge_down(served, body, path):
    status, answer, _ = served.ask("POST", path, body)
    assert status in (200, 400)
    assert status == 200 or answer["error"] == "BAD_REQUEST"
    assert served.failures == []
