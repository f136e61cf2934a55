"""OTLP logs: a record's event name is the signal, its attributes the fields; answers are the specification's."""

import asyncio
import gzip
import json
import time
import tracemalloc
from enum import StrEnum

import pytest
from google.protobuf.json_format import MessageToJson
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from device_bench import make_policy
from discreet_agent.event import EventLine, EventRefusal, Refused
from discreet_agent.receive import otlp_json, otlp_protobuf
from discreet_agent.receive.http_messages import (
    ANYONE,
    JSON,
    PROTOBUF,
    HttpRefusal,
    Request,
    RequestRefusedError,
)
from discreet_agent.receive.http_refusals import refusal_response
from discreet_agent.receive.otlp import Otlp
from discreet_agent.receive.otlp_records import MAX_RECORD_BYTES, MAX_RECORDS, TooManyRecordsError, UndecodableError
from discreet_agent.senders import Speaker

NOW_NS = 1_700_006_400_000_000_000
SIGNALS = make_policy().policy.signals
PLANTED = "planted-value-zyx"


class Recorder:
    """Keeps what it is given; refuses what was refused before, or everything with one reason."""

    def __init__(self, reason=None):
        self.batches = []
        self.reason = reason

    async def __call__(self, batch):
        self.batches.append(batch)
        refused = None if self.reason is None else Refused(self.reason, "in tests")
        return [item if isinstance(item, Refused) else refused for item in batch.items]

    @property
    def items(self):
        return [item for batch in self.batches for item in batch.items]


def take(body, *, media_type=JSON, recorder=None, speaker=ANYONE):
    """One request to /v1/logs; returns (status, decoded answer, what was recorded)."""
    recorder = recorder or Recorder()
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    request = Request("POST", "/v1/logs", headers={"content-type": media_type}, body=content, speaker=speaker)

    async def ask():
        return await Otlp(recorder, lambda: SIGNALS, lambda: NOW_NS // 1_000_000).take_logs(request)

    try:
        response = asyncio.run(ask())
    except RequestRefusedError as refused:
        response = refusal_response(refused.refused, request.media_type, request.path)
    assert response.media_type == media_type
    return response.status, response.body, recorder


def said(value):
    match value:
        case bool():
            return {"boolValue": value}
        case str():
            return {"stringValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
    return value


def record(attributes=None, **changes):
    """A log record in JSON; values that are mappings stand as they are."""
    pairs = [{"key": key, "value": said(value)} for key, value in (attributes or {}).items()]
    return {"timeUnixNano": str(NOW_NS), "eventName": "door.opened", "attributes": pairs} | changes


def logs(*records, scope=None, **changes):
    return {"resourceLogs": [{"scopeLogs": [{"scope": scope or {}, "logRecords": list(records)} | changes]}]}


def test_an_event_name_is_the_signal_and_attributes_are_fields():
    """Numbers, text, true and false; 64-bit integers as text, as SDKs write them."""
    status, answer, recorder = take(logs(record({"seconds": 2.5, "side": "left", "forced": True, "count": 2**40})))
    assert (status, answer) == (200, b"{}")
    fields = {"seconds": 2.5, "side": "left", "forced": True, "count": 2**40}
    assert recorder.items == [EventLine("door.opened", "1-1-0", NOW_NS // 1_000_000, fields)]


def one(attributes=None, *, around=None, **changes):
    _, _, recorder = take(logs(record(attributes, **changes), **(around or {})))
    return recorder.items[0]


def test_the_event_itself_may_be_spoken_of_in_attributes():
    """Name, version, id and what is taken back; none of them is a field."""
    about = {"event.name": "door.opened", "discreet.version": "1-0-0", "discreet.id": "a", "discreet.retracts": "b"}
    event = one(about | {"side": "left"}, eventName="")
    assert (event.signal, event.version, event.id, event.retracts) == ("door.opened", "1-0-0", "a", "b")
    assert event.fields == {"side": "left"}
    assert one({"log.record.uid": "u"}).id == "u"
    assert one({"log.record.uid": "u", "discreet.id": "a"}).id == "a"
    assert one({"event.name": "another"}).signal == "door.opened"


def test_the_version_is_the_scopes_or_the_schemas_where_it_is_a_schema_version():
    """A library's version is none."""
    assert one(around={"scope": {"name": "app", "version": "1-0-0"}}).version == "1-0-0"
    assert one(around={"scope": {"name": "app", "version": "1.45.2"}}).version == "1-1-0"
    assert one(around={"schemaUrl": "https://example.org/schemas/1-0-0"}).version == "1-0-0"
    assert one(around={"schemaUrl": "https://opentelemetry.io/schemas/1.29.0"}).version == "1-1-0"
    assert one(eventName="nobody.knows").version == ""


def test_the_time_is_the_events_own_else_when_it_was_observed():
    assert one(timeUnixNano=NOW_NS).time == NOW_NS // 1_000_000
    assert one(timeUnixNano="0", observedTimeUnixNano=str(NOW_NS)).time == NOW_NS // 1_000_000
    assert one(timeUnixNano=None).reason is EventRefusal.BAD_TIME


@pytest.mark.parametrize(
    "value",
    [
        {"arrayValue": {"values": [{"stringValue": PLANTED}]}},
        {"kvlistValue": {"values": [{"key": PLANTED, "value": {"stringValue": PLANTED}}]}},
        {"bytesValue": "cGxhbnRlZA=="},
    ],
)
def test_a_value_that_no_field_can_hold_refuses_its_own_record_only(value):
    """The reason stands in the partial success, the value nowhere."""
    status, answer, recorder = take(logs(record({"seconds": value}), record({"seconds": 1})))
    assert status == 200
    told = json.loads(answer)["partialSuccess"]
    assert told["rejectedLogRecords"] == "1"
    assert told["errorMessage"].startswith("1 × WRONG_TYPE: an attribute is a list")
    assert isinstance(recorder.items[1], EventLine)
    assert PLANTED not in answer.decode()
    assert PLANTED not in repr(recorder.items)


@pytest.mark.parametrize(
    ("changes", "attributes", "reason"),
    [
        ({"eventName": ""}, {}, EventRefusal.MALFORMED),
        ({"eventName": "x" * 65}, {}, EventRefusal.MALFORMED),
        ({"eventName": None}, {"event.name": 7}, EventRefusal.MALFORMED),
        ({}, {"discreet.id": ""}, EventRefusal.MALFORMED),
        ({}, {"discreet.id": "é" * 33}, EventRefusal.MALFORMED),
        ({}, {"discreet.id": 7}, EventRefusal.MALFORMED),
        ({}, {"discreet.version": "x" * 17}, EventRefusal.MALFORMED),
        ({}, {f"a{n}": n for n in range(257)}, EventRefusal.TOO_LARGE),
        ({"body": {"stringValue": "x" * MAX_RECORD_BYTES}}, {}, EventRefusal.TOO_LARGE),
    ],
)
def test_a_record_that_is_no_event_says_why(changes, attributes, reason):
    assert one(attributes, **changes).reason is reason


def test_refusals_of_the_pipeline_are_told_by_kind():
    """At most five kinds, the most frequent first."""
    status, answer, _ = take(logs(record(), record()), recorder=Recorder(EventRefusal.CONSENT_OFF))
    told = json.loads(answer)["partialSuccess"]
    assert (status, told) == (200, {"rejectedLogRecords": "2", "errorMessage": "2 × CONSENT_OFF: in tests"})


def test_while_the_device_cannot_store_the_same_shall_be_sent_again():
    """503 with Retry-After; the specification has clients retry that, and nothing else of ours."""
    status, answer, _ = take(logs(record()), recorder=Recorder(EventRefusal.STORE_UNAVAILABLE))
    assert status == 503
    assert json.loads(answer)["message"].startswith("STORE_UNAVAILABLE: ")


class Throttled(StrEnum):
    RATE_LIMITED = "RATE_LIMITED"


def test_a_sender_over_its_rate_shall_send_the_same_again_later():
    """Where nothing was stored; else it would be stored twice, and is a partial success."""
    status, answer, _ = take(logs(record(), record()), recorder=Recorder(Throttled.RATE_LIMITED))
    assert status == 429
    assert json.loads(answer)["message"].startswith("THROTTLED: ")
    status, answer, _ = take(logs(record(), record(eventName="")), recorder=Recorder(Throttled.RATE_LIMITED))
    assert (status, json.loads(answer)["partialSuccess"]["rejectedLogRecords"]) == (200, "2")


def test_the_senders_name_goes_with_its_events_and_what_it_may_not_say_is_refused():
    _, _, recorder = take(logs(record(), record(eventName="x")), speaker=Speaker("player", frozenset({"door.opened"})))
    assert [batch.sender for batch in recorder.batches] == ["player"]
    assert [getattr(item, "reason", None) for item in recorder.items] == [None, EventRefusal.SIGNAL_NOT_ALLOWED]


@pytest.mark.parametrize("body", [{}, {"resourceLogs": []}, {"resourceLogs": [{"scopeLogs": [{}]}]}, logs()])
def test_an_empty_request_is_a_success(body):
    status, answer, recorder = take(body)
    assert (status, answer, recorder.batches) == (200, b"{}", [])
    status, answer, _ = take(b"", media_type=PROTOBUF)
    assert (status, answer) == (200, b"")


def test_unknown_keys_are_ignored_and_null_is_nothing():
    """So that newer SDKs are understood; original field names are unknown keys."""
    event = one(None, traceId="5B8EFFF798038103D269B633813FC60C", severityNumber=9, flags=1, new={"a": [1]})
    assert event.fields == {}
    _, _, recorder = take({"resource_logs": 7, "resourceLogs": None, "x": 1})
    assert recorder.batches == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"resourceLogs": 7}',
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [7]}]}]}',
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1e3"}]}]}]}',
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": 99999999999999999999}]}]}]}',
        b'{"resourceLogs": [{"schemaUrl": "\xff"}]}',
        b"[" * 100_000,
        json.dumps(logs(record({"a": {"doubleValue": PLANTED}}))).encode(),
    ],
)
def test_json_that_is_not_otlp_is_bad_data_and_nothing_of_it_is_stored(body):
    status, answer, recorder = take(body)
    status_message = json.loads(answer)
    assert status == 400
    assert status_message["message"].startswith("BAD_REQUEST: ")
    assert status_message["details"][0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert recorder.batches == []
    assert PLANTED not in answer.decode()


@pytest.mark.parametrize("body", [b"\x0a", b"\xff" * 20, b"\x0a\x02\x12\xff", b"\x08\x01", b"\x00\x01", b"\x0b\x0c"])
def test_protobuf_that_is_not_otlp_is_bad_data_in_protobuf(body):
    """A google.rpc.Status with a BadRequest, read here with Google's own code."""
    status, answer, recorder = take(body, media_type=PROTOBUF)
    told, violation = Status.FromString(answer), BadRequest()
    assert status == 400
    assert told.message.startswith("BAD_REQUEST: ")
    assert told.details[0].Unpack(violation)
    assert violation.field_violations[0].description == told.message
    assert recorder.batches == []


def test_a_partial_success_in_protobuf_is_read_by_the_official_library():
    request = ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[LogRecord(event_name="a"), LogRecord()])])]
    )
    status, answer, _ = take(request.SerializeToString(), media_type=PROTOBUF)
    told = ExportLogsServiceResponse.FromString(answer).partial_success
    assert (status, told.rejected_log_records) == (200, 2)
    assert "1 × BAD_TIME: " in told.error_message


VALUES = st.recursive(
    st.one_of(
        st.builds(AnyValue),
        st.builds(AnyValue, string_value=st.text(max_size=5)),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
        st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
        st.builds(AnyValue, bytes_value=st.binary(max_size=5)),
    ),
    lambda inner: st.one_of(
        st.builds(AnyValue, array_value=st.builds(ArrayValue, values=st.lists(inner, max_size=2))),
        st.builds(
            AnyValue,
            kvlist_value=st.builds(
                KeyValueList, values=st.lists(st.builds(KeyValue, key=st.text(max_size=3), value=inner), max_size=2)
            ),
        ),
    ),
    max_leaves=3,
)
RECORDS = st.builds(
    LogRecord,
    time_unix_nano=st.integers(0, 2**64 - 1),
    observed_time_unix_nano=st.integers(0, 2**64 - 1),
    event_name=st.text(max_size=8),
    severity_text=st.text(max_size=3),
    attributes=st.lists(st.builds(KeyValue, key=st.text(max_size=4), value=VALUES), max_size=4),
    body=VALUES,
)
REQUESTS = st.builds(
    ExportLogsServiceRequest,
    resource_logs=st.lists(
        st.builds(
            ResourceLogs,
            schema_url=st.text(max_size=4),
            scope_logs=st.lists(
                st.builds(ScopeLogs, schema_url=st.text(max_size=4), log_records=st.lists(RECORDS, max_size=3)),
                max_size=2,
            ),
        ),
        max_size=2,
    ),
)


def facts(records):
    return [(r.event_name, r.time_ns, r.observed_ns, r.attributes, r.scope_version, r.schema_url) for r in records]


@given(REQUESTS)
def test_both_encodings_say_the_same(request):
    """Written by Google's library in both, read by us: equal records, in order."""
    read = facts(otlp_protobuf.decode_logs(request.SerializeToString()))
    assert facts(otlp_json.decode_logs(MessageToJson(request).encode())) == read
    assert len(read) == sum(len(s.log_records) for r in request.resource_logs for s in r.scope_logs)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=300), REQUESTS.map(ExportLogsServiceRequest.SerializeToString)), st.data())
def test_whatever_protobuf_comes_it_is_read_or_refused(content, data):
    """Random bytes, and real requests with one byte changed."""
    if content:
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :]
    for media_type in (PROTOBUF, JSON):
        status, _, _ = take(content, media_type=media_type)
        assert status in (200, 400)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceLogs",
                    "scopeLogs",
                    "logRecords",
                    "attributes",
                    "key",
                    "value",
                    "intValue",
                    "doubleValue",
                    "scope",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(JSON_VALUES, st.lists(JSON_VALUES, max_size=3))
def test_whatever_json_comes_it_is_read_or_refused(anything, records):
    for body in (anything, logs(*records), logs({"attributes": records}), {"resourceLogs": records}):
        status, _, _ = take(json.dumps(body).encode())
        assert status in (200, 400)


def test_too_many_records_are_refused_as_a_whole():
    """413, which clients do not send again."""
    status, _, recorder = take(logs(*[record()] * (MAX_RECORDS + 1)))
    assert (status, recorder.batches) == (413, [])


def field(number, content):
    length = bytearray()
    size = len(content)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


HUGE = 16_000_000
BOMBS = {
    "empty records": (PROTOBUF, field(1, field(2, b"\x12\x00" * (HUGE // 2)))),
    "empty scopes": (PROTOBUF, field(1, b"\x12\x00" * (HUGE // 2))),
    "empty resources": (PROTOBUF, b"\x0a\x00" * (HUGE // 2)),
    "unknown fields": (PROTOBUF, b"\x18\x00" * (HUGE // 2)),
    "one record of attributes": (PROTOBUF, field(1, field(2, field(2, b"\x32\x00" * (HUGE // 2))))),
    "records of numbers": (JSON, b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + b"1," * (HUGE // 2) + b"1]}]}]}"),
    "empty records in JSON": (
        JSON,
        b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + b"{}," * (HUGE // 3) + b"{}]}]}]}",
    ),
    "empty scopes in JSON": (JSON, b'{"resourceLogs":[{"scopeLogs":[' + b"{}," * (HUGE // 3) + b"{}]}]}"),
    "one attribute too many": (
        JSON,
        json.dumps(logs(*[{"attributes": [{"key": f"{n}"} for n in range(50)]}] * 9_999)).encode(),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_body_that_would_unfold_in_memory_is_refused_before_it_does(name):
    """16 MB of what two bytes can say: refused, or refused record by record, within 100 MB."""
    media_type, content = BOMBS[name]
    packed = gzip.compress(content, 1)
    del content
    request = Request("POST", "/v1/logs", headers={"content-type": media_type, "content-encoding": "gzip"}, body=packed)
    recorder = Recorder()
    tracemalloc.start()
    try:
        response = asyncio.run(Otlp(recorder, lambda: SIGNALS, lambda: 1).take_logs(request))
        status = response.status
    except RequestRefusedError as refused:
        status = refused.refused.reason.status
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert status in (200, 400, 413)
    assert not any(isinstance(item, EventLine) for item in recorder.items)
    assert peak < 100_000_000


@pytest.mark.parametrize("said", [b"", field(1, b"k") + field(2, b"\x18\x01")], ids=["nothing", "one name again"])
def test_a_flood_of_attributes_is_refused_before_it_is_read(said):
    """15 KB of gzip can hold eight million of them, which would keep every other sender waiting for seconds."""
    pair = field(6, said)
    flood = field(2, pair * (65_000 // len(pair)))
    body = field(1, field(2, flood * (HUGE // len(flood))))
    began = time.process_time()
    status, _, recorder = take(body, media_type=PROTOBUF)
    assert (status, recorder.batches) == (413, [])
    assert time.process_time() - began < 1


def test_without_the_library_protobuf_gets_the_hint(monkeypatch):
    """The package extra is not installed: 415, in protobuf all the same, and JSON works."""
    monkeypatch.setattr(otlp_protobuf, "is_available", lambda: False)
    status, answer, _ = take(b"", media_type=PROTOBUF)
    assert status == HttpRefusal.MEDIA_TYPE.status == 415
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/json" in Status.FromString(answer).message
    assert take(logs(record()))[0] == 200


def test_the_decoders_name_rules_only():
    """P1: what an exception says holds no value."""
    with pytest.raises(UndecodableError) as raised:
        list(otlp_json.decode_logs(json.dumps({"resourceLogs": PLANTED}).encode()))
    assert PLANTED not in str(raised.value)
    assert str(TooManyRecordsError()) == ""
