"""OFREP over real HTTP: every answer in its form, validators, scopes, refusals, whatever the body."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import READER, TOKEN, serving

ALL = "/ofrep/v1/evaluate/flags"
CONTEXT = {"context": {"targetingKey": "somebody", "country": "NL"}}
AS_READER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def served():
    with serving() as served:
        yield served


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("autoplay", {"value": True, "variant": "on", "reason": "TARGETING_MATCH"}),
        ("rows", {"value": "personal", "variant": "personal", "reason": "SPLIT"}),
        ("columns", {"value": 3, "variant": "wide", "reason": "STATIC"}),
        ("theme", {"value": {"colour": "red", "sizes": [1, 2]}, "variant": "warm", "reason": "STATIC"}),
        ("order", {"value": ["news", "drama"], "variant": "taste", "reason": "STATIC"}),
    ],
)
def test_a_flag_is_answered_with_value_variant_and_reason(served, key, said):
    status, answer, _ = served.ask("POST", f"{ALL}/{key}", CONTEXT)
    assert status == 200
    assert {name: answer[name] for name in ("key", "value", "variant", "reason")} == {"key": key} | said


def test_a_number_with_a_fraction_keeps_it(served):
    """Sent as 10, the stock provider takes it for an integer and fails."""
    _, answer, _ = served.ask("POST", f"{ALL}/volume", CONTEXT)
    assert answer["value"] == 10.0
    assert isinstance(answer["value"], float)


def test_a_reason_that_ofrep_does_not_list_is_unknown_and_said_beside(served):
    _, answer, _ = served.ask("POST", f"{ALL}/volume", CONTEXT)
    assert (answer["reason"], answer["metadata"]) == ("UNKNOWN", {"reason": "DEFAULT"})


@pytest.mark.parametrize(("key", "reason"), [("retired", "DISABLED"), ("undecided", "UNKNOWN")])
def test_where_the_app_takes_its_own_default_there_is_no_value(served, key, reason):
    status, answer, _ = served.ask("POST", f"{ALL}/{key}", CONTEXT)
    assert (status, answer["reason"], answer["variant"]) == (200, reason, "")
    assert "value" not in answer


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("no_such_flag", 404, "FLAG_NOT_FOUND"),
        ("", 404, "FLAG_NOT_FOUND"),
        ("a/b%20c", 404, "FLAG_NOT_FOUND"),
        ("broken", 400, "PARSE_ERROR"),
        ("crooked", 400, "GENERAL"),
        ("keyed", 400, "TARGETING_KEY_MISSING"),
    ],
)
def test_a_flag_that_cannot_be_answered_says_why(served, key, status, code):
    """TYPE_MISMATCH is no code of OFREP's."""
    answered, answer, _ = served.ask("POST", f"{ALL}/{key}", CONTEXT)
    assert (answered, answer["errorCode"]) == (status, code)
    assert answer["key"] == key.replace("%20", " ")
    assert answer["errorDetails"]


@pytest.mark.parametrize("path", [f"{ALL}/autoplay", ALL])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"{", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b'{"context": {"a": \xff}}', "PARSE_ERROR"),
        (b'{"context": ' + b"[" * 9000 + b"]" * 9000 + b"}", "PARSE_ERROR"),
        (b'{"context": null}', "INVALID_CONTEXT"),
        (b'{"context": [1]}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
    ],
)
def test_a_body_that_is_no_question_is_refused_by_its_rule(served, path, body, code):
    status, answer, _ = served.ask("POST", path, body)
    assert (status, answer["errorCode"]) == (400, code)
    assert answer["errorDetails"]
    assert ("key" in answer) == (path != ALL)


@pytest.mark.parametrize("body", [{}, {"context": {}}, {"context": {"country": "NL"}}, {"other": 1}])
def test_a_question_without_a_targeting_key_is_one_about_this_device(served, body):
    """The device itself is who is asked about: OFREP's key is somebody's only where an app has several users."""
    status, answer, _ = served.ask("POST", f"{ALL}/autoplay", body)
    assert (status, answer["value"]) == (200, True)
    assert served.apps.contexts[-1] == body.get("context", {})


def test_all_flags_are_answered_at_once(served):
    status, answer, headers = served.ask("POST", ALL, CONTEXT)
    told = {flag["key"]: flag for flag in answer["flags"]}
    assert status == 200
    assert list(told) == sorted(served.apps.flags)
    assert told["autoplay"]["value"] is True
    assert told["broken"]["errorCode"] == "PARSE_ERROR"
    assert "value" not in told["retired"]
    assert answer["eventStreams"] == [
        {"type": "sse", "url": f"http://{served.address}/ofrep/v1/events", "inactivityDelaySec": 120}
    ]
    assert headers["ETag"].startswith('"')


@pytest.mark.parametrize("written", ["{}", "W/{}", 'W/"x", {}', "bare"])
def test_who_has_the_answer_is_told_so_without_evaluating(served, written):
    _, _, headers = served.ask("POST", ALL, CONTEXT)
    validator = headers["ETag"]
    evaluations = served.apps.evaluations

    sent = validator.strip('"') if written == "bare" else written.format(validator)
    status, answer, headers = served.ask("POST", ALL, CONTEXT, {"If-None-Match": sent})

    assert (status, answer, headers["ETag"]) == (304, None, validator)
    assert "Content-Length" not in headers
    assert served.apps.evaluations == evaluations


def test_a_connection_goes_on_after_word_that_nothing_changed(served):
    """304 has no body, and no length of one."""
    from http.client import HTTPConnection

    _, _, headers = served.ask("POST", ALL, CONTEXT)
    connection = HTTPConnection(served.address, timeout=5)
    for _ in range(3):
        sent = {"Content-Type": "application/json", "If-None-Match": headers["ETag"]}
        connection.request("POST", ALL, b'{"context": {"targetingKey": "somebody", "country": "NL"}}', sent)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (304, b"")
    connection.close()


@pytest.mark.parametrize("what", ["state", "context", "star", "foreign"])
def test_an_answer_that_may_be_another_is_given_anew(served, what):
    _, _, headers = served.ask("POST", ALL, CONTEXT)
    if what == "state":
        served.do(served.apps.change)
    asked = {"context": {"targetingKey": "somebody else"}} if what == "context" else CONTEXT
    known = {"star": "*", "foreign": '"abc123xyz"'}.get(what, headers["ETag"])

    status, answer, _ = served.ask("POST", ALL, asked, {"If-None-Match": known})

    assert status == 200
    assert answer["flags"]


def test_a_validator_says_nothing_of_what_it_was_made_from():
    """Two agents in the same state give two."""
    validators = set()
    for _ in range(2):
        with serving() as served:
            validators.add(served.ask("POST", ALL, CONTEXT)[2]["ETag"])
    assert len(validators) == 2


def test_what_is_outside_the_scope_does_not_exist():
    """Not by its answer, not in the list, and not by the validator."""
    with serving({"player": READER}) as served:
        known = served.ask("POST", f"{ALL}/autoplay", CONTEXT, AS_READER)
        hidden = served.ask("POST", f"{ALL}/rows", CONTEXT, AS_READER)
        absent = served.ask("POST", f"{ALL}/cows", CONTEXT, AS_READER)
        _, everything, _ = served.ask("POST", ALL, CONTEXT, AS_READER)

    assert known[0] == 200
    assert hidden[0] == absent[0] == 404
    assert {**hidden[1], "key": ""} == {**absent[1], "key": ""}
    assert [flag["key"] for flag in everything["flags"]] == ["autoplay", "columns"]


@pytest.mark.parametrize("path", [ALL, f"{ALL}/autoplay", "/ofrep/v1/events"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer somebody-elses"}, 401),
        (AS_READER | {"Origin": "http://shop.example"}, 403),
        (AS_READER | {"Host": "shop.example"}, 403),
    ],
)
def test_who_may_not_ask_learns_so_in_ofreps_own_form(path, headers, status):
    with serving({"player": READER}) as served:
        method, body = ("GET", None) if path.endswith("events") else ("POST", CONTEXT)
        answered, answer, sent = served.ask(method, path, body, headers)
    assert answered == status
    assert answer["errorDetails"]
    assert ("WWW-Authenticate" in sent) == (status == 401)


def test_other_refusals_of_the_edge_have_that_form_too(served):
    kinds = {"Content-Type": "text/plain"}
    refused = [
        served.ask("GET", f"{ALL}/autoplay"),
        served.ask("POST", f"{ALL}/autoplay", b"{}", kinds),
        served.ask("POST", "/ofrep/v1/other", CONTEXT),
        served.ask("POST", ALL, b'{"context": {"x": "' + b"y" * 70_000 + b'"}}'),
    ]
    assert [status for status, _, _ in refused] == [405, 400, 404, 400]
    assert [answer["errorCode"] for _, answer, _ in refused] == ["GENERAL", "PARSE_ERROR"] * 2
    assert all(answer["errorDetails"] for _, answer, _ in refused)
    assert refused[0][1]["key"] == "autoplay"


@pytest.mark.parametrize("path", [ALL, f"{ALL}/autoplay"])
def test_a_store_that_cannot_be_read_now_is_said_and_passes(path):
    with serving() as served:
        served.apps.is_out_of_order = True
        status, answer, headers = served.ask("POST", path, CONTEXT)
        served.apps.is_out_of_order = False
        again, _, _ = served.ask("POST", path, CONTEXT)
    assert (status, headers["Retry-After"], again) == (500, "5", 200)
    assert answer["errorDetails"]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_json | st.binary(max_size=200) | st.fixed_dictionaries({"context": _json}), is_single=st.booleans())
def test_no_body_brings_the_edge_down(served, body, is_single):
    """The answer is OFREP's, and the next question is answered as before."""
    status, answer, _ = served.ask("POST", f"{ALL}/autoplay" if is_single else ALL, body if body is not None else b"")
    assert status in (200, 400)
    assert "errorDetails" in answer if status == 400 else True
    assert served.failures == []


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.text("aZ0-_./%&=;:@!$'()*+,~", max_size=30))
def test_no_key_brings_the_edge_down(served, tail):
    status, answer, _ = served.ask("POST", f"{ALL}/{tail}", CONTEXT)
    assert (status, answer["errorCode"]) == (404, "FLAG_NOT_FOUND")
