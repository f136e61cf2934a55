"""OTLP metrics: a point becomes an event of the signal declared for it; counters become what they rose by, once."""

import asyncio
import json

import pytest
from google.protobuf.json_format import MessageToJson, Parse
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)

from device_bench import make_policy
from discreet_agent.event import EventLine, EventRefusal, Refused
from discreet_agent.receive import otlp_json, otlp_metrics, otlp_protobuf
from discreet_agent.receive.http_messages import JSON, PROTOBUF, HttpRefusal, Request, RequestRefusedError
from discreet_agent.receive.otlp import Otlp
from discreet_agent.receive.otlp_records import DataPoint, Kind
from discreet_contract.policy.model import Otlp as Source

BEGAN = 1_700_006_400_000_000_000  # the agent's start, nanoseconds
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DOOR = make_policy().policy.signals["door.opened"]
SIGNALS = {
    "door.opened": replace(
        DOOR, otlp=Source(metric="door.openings", value="seconds", attributes={"side": "door.side"})
    ),
    "door.left": replace(DOOR, otlp=Source(metric="door.openings", value="seconds", only={"door.side": "left"})),
    "door.weight": replace(DOOR, otlp=Source(metric="door.weight", value="seconds", unit="kg")),
}


class Device:
    """Handlers over a recorder that says what it is told to, with a clock and a policy that the test moves."""

    def __init__(self):
        self.items = []
        self.reason = None
        self.now_ns = BEGAN
        self.signals = SIGNALS
        self.otlp = Otlp(self._record, lambda: self.signals, lambda: self.now_ns // 1_000_000)

    async def _record(self, batch):
        self.items += batch.items
        refused = None if self.reason is None else Refused(self.reason, "in tests")
        return [item if isinstance(item, Refused) else refused for item in batch.items]

    def send(self, *metrics, resource="app", media_type=PROTOBUF):
        """One request; returns its partial success and what was recorded of it."""
        resource_metrics = ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=metrics)])
        resource_metrics.resource.attributes.append(attribute("service.name", resource))
        request = ExportMetricsServiceRequest(resource_metrics=[resource_metrics])
        body = (
            request.SerializeToString()
            if media_type == PROTOBUF
            else MessageToJson(request, use_integers_for_enums=True).encode()
        )
        self.items = []
        asked = Request("POST", "/v1/metrics", headers={"content-type": media_type}, body=body)
        response = asyncio.run(self.otlp.take_metrics(asked))
        told = (
            Parse(response.body, ExportMetricsServiceResponse())
            if media_type == JSON
            else (ExportMetricsServiceResponse.FromString(response.body))
        )
        return told.partial_success, self.items

    def values(self, *metrics, **changes):
        """What a request adds, by signal."""
        _, items = self.send(*metrics, **changes)
        return [(item.signal, item.fields["seconds"]) for item in items if isinstance(item, EventLine)]


def attribute(key, value):
    return KeyValue(key=key, value=AnyValue(string_value=value))


def point(value, at=MINUTE, *, start=SECOND, side="right", **changes):
    given_as = {"as_int": value} if isinstance(value, int) else {"as_double": value}
    return NumberDataPoint(
        time_unix_nano=BEGAN + at,
        start_time_unix_nano=BEGAN + start if start else 0,
        attributes=[attribute("door.side", side)],
        **(given_as | changes),
    )


def total(*points, cumulative=True, monotonic=True, name="door.openings", unit=""):
    temporality = 2 if cumulative else 1
    data = Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=monotonic)
    return Metric(name=name, unit=unit, sum=data)


def gauge(*points, name="door.openings", unit=""):
    return Metric(name=name, unit=unit, gauge=Gauge(data_points=points))


@pytest.mark.parametrize("media_type", [PROTOBUF, JSON])
def test_a_gauge_is_taken_as_it_stands(media_type):
    """Value, time, version of the policy, and the attributes that the policy names."""
    told, [event] = Device().send(gauge(point(2.5)), media_type=media_type)
    at_ms = (BEGAN + MINUTE) // 1_000_000
    assert event == EventLine("door.opened", "1-1-0", at_ms, {"seconds": 2.5, "side": "right"})
    assert told.rejected_data_points == 0


def test_of_several_signals_the_one_that_asks_most_takes_the_point():
    device = Device()
    assert device.values(gauge(point(1, side="left"))) == [("door.left", 1)]
    assert device.values(gauge(point(1, side="right"))) == [("door.opened", 1)]


def test_a_counter_is_taken_as_what_it_rose_by():
    """From its beginning, where that was under our eyes; nothing where it stands still."""
    device = Device()
    assert device.values(total(point(5))) == [("door.opened", 5)]
    assert device.values(total(point(5, 2 * MINUTE))) == []
    assert device.values(total(point(8, 3 * MINUTE), point(9, 4 * MINUTE))) == [("door.opened", 3), ("door.opened", 1)]


def test_a_counter_that_began_before_we_looked_counts_from_its_second_point():
    device = Device()
    assert device.values(total(point(100, start=-SECOND))) == []
    assert device.values(total(point(103, 2 * MINUTE, start=-SECOND))) == [("door.opened", 3)]


def test_a_counter_without_a_beginning_counts_from_its_second_point():
    device = Device()
    assert device.values(total(point(100, start=0))) == []
    assert device.values(total(point(103, 2 * MINUTE, start=0))) == [("door.opened", 3)]


def test_a_counter_that_begins_again_loses_nothing():
    """With a new start; and without saying so, where its value has fallen."""
    device = Device()
    assert device.values(total(point(5))) == [("door.opened", 5)]
    assert device.values(total(point(2, 2 * MINUTE, start=MINUTE))) == [("door.opened", 2)]
    assert device.values(total(point(1, 3 * MINUTE, start=MINUTE))) == [("door.opened", 1)]


def test_two_programs_with_one_name_do_not_reset_each_other():
    """Each has its own start; their points alternate."""
    device = Device()
    added = []
    for minute in range(1, 5):
        added += device.values(total(point(10 * minute, minute * MINUTE, start=SECOND)))
        added += device.values(total(point(10 * minute, minute * MINUTE + SECOND, start=2 * SECOND)))
    assert sum(value for _, value in added) == 80


def test_what_is_sent_again_counts_once():
    """An answer was lost; the client sends the same bytes."""
    device = Device()
    for metric in (
        total(point(5)),
        total(point(5, side="left"), cumulative=False),
        gauge(point(5), name="door.weight", unit="kg"),
    ):
        assert len(device.values(metric)) == 1
        assert device.values(metric) == []


def test_deltas_and_sums_that_may_fall_are_taken_as_they_stand():
    device = Device()
    assert device.values(total(point(5), cumulative=False)) == [("door.opened", 5)]
    assert device.values(total(point(0, 2 * MINUTE), cumulative=False)) == []
    assert device.values(total(point(5, 3 * MINUTE), monotonic=False)) == [("door.opened", 5)]
    assert device.values(total(point(4, 4 * MINUTE), monotonic=False)) == [("door.opened", 4)]


def test_while_the_device_cannot_store_no_counter_moves_on():
    """The client sends the same again, and then it counts."""
    device = Device()
    device.reason = EventRefusal.STORE_UNAVAILABLE
    with pytest.raises(RequestRefusedError) as raised:
        device.send(total(point(5)))
    assert raised.value.refused.reason is HttpRefusal.STORE_UNAVAILABLE
    device.reason = None
    assert device.values(total(point(5))) == [("door.opened", 5)]


def test_what_is_counted_while_the_owner_says_no_is_never_recorded():
    """P6: also what a counter rose by between its last point and the yes."""
    device = Device()
    device.values(total(point(5)))
    device.reason, device.now_ns = EventRefusal.CONSENT_OFF, BEGAN + 2 * MINUTE
    device.send(total(point(50, 2 * MINUTE)))
    device.reason = None
    assert device.values(total(point(60, 3 * MINUTE))) == []
    assert device.values(total(point(61, 4 * MINUTE))) == [("door.opened", 1)]
    device.otlp.begin_anew()
    assert device.values(total(point(90, 5 * MINUTE))) == []


def test_a_counter_that_was_forgotten_for_want_of_room_is_not_counted_twice():
    """More series than are remembered: each goes on from its second point, as if it had begun before we looked."""
    device = Device()
    sides = [f"{number}" for number in range(otlp_metrics.MAX_SERIES)]
    assert len(device.values(total(*[point(7, side=side) for side in sides]))) == len(sides)
    assert device.values(total(point(7, side="one more"))) == [("door.opened", 7)]
    assert device.values(total(point(8, 2 * MINUTE, side="0"))) == []
    assert device.values(total(point(9, 3 * MINUTE, side="0"))) == [("door.opened", 1)]
    assert device.values(total(point(5, 3 * MINUTE, side="new", start=2 * MINUTE))) == [("door.opened", 5)]


def test_after_the_clock_was_set_back_points_are_taken_on():
    """What came under the wrong time does not make all that follows look as if it had been sent before."""
    device = Device()
    device.now_ns = BEGAN + 3600 * SECOND
    assert device.values(total(point(5, 3600 * SECOND))) == [("door.opened", 5)]
    assert device.values(gauge(point(3, 3600 * SECOND), name="door.weight", unit="kg")) == [("door.weight", 3)]
    device.now_ns = BEGAN + MINUTE
    assert device.values(total(point(6, MINUTE))) == [("door.opened", 1)]
    assert device.values(gauge(point(4, MINUTE), name="door.weight", unit="kg")) == [("door.weight", 4)]
    assert device.values(total(point(6, MINUTE))) == []


def test_under_another_policy_counting_begins_anew_where_sources_changed():
    """What a counter rose by before anybody asked for it is not recorded."""
    device = Device()
    device.signals = {"door.weight": SIGNALS["door.weight"]}
    device.send(total(point(1)))
    device.signals, device.now_ns = SIGNALS, BEGAN + 2 * MINUTE
    assert device.values(total(point(5, 3 * MINUTE))) == []
    device.signals = dict(SIGNALS)
    assert device.values(total(point(6, 4 * MINUTE))) == [("door.opened", 1)]


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (gauge(point(1), name="nobody.asked"), EventRefusal.UNKNOWN_SIGNAL),
        (gauge(point(1), name="door.weight", unit="g"), EventRefusal.WRONG_TYPE),
        (gauge(point(float("nan"))), EventRefusal.OUT_OF_BOUNDS),
        (total(point(float("inf"))), EventRefusal.OUT_OF_BOUNDS),
        (gauge(NumberDataPoint(as_int=1)), EventRefusal.BAD_TIME),
        (Metric(name="door.openings", sum=Sum(data_points=[point(1)])), EventRefusal.MALFORMED),
        (
            Metric(name="door.openings", histogram=Histogram(data_points=[HistogramDataPoint(count=3)])),
            EventRefusal.WRONG_TYPE,
        ),
        (
            gauge(
                NumberDataPoint(
                    as_int=1,
                    time_unix_nano=BEGAN,
                    attributes=[KeyValue(key="door.side", value=AnyValue(bytes_value=b"x"))],
                )
            ),
            EventRefusal.WRONG_TYPE,
        ),
    ],
)
def test_a_point_that_is_no_event_says_why(metric, reason):
    told, [refused] = Device().send(metric)
    assert refused.reason is reason
    assert told.rejected_data_points == 1
    assert told.error_message == f"1 × {reason.value}: {refused.detail}"


def test_a_point_that_says_it_has_no_value_is_nothing():
    told, items = Device().send(gauge(point(1, flags=1), NumberDataPoint(time_unix_nano=BEGAN)))
    assert (told.rejected_data_points, items) == (0, [])


def test_a_broken_number_does_not_spoil_its_counter():
    device = Device()
    device.values(total(point(5)))
    device.values(total(point(float("nan"), 2 * MINUTE)))
    assert device.values(total(point(7, 3 * MINUTE))) == [("door.opened", 2)]


def test_only_so_many_series_are_remembered():
    """The one unheard of for longest is given up."""
    series = otlp_metrics.Series(BEGAN)
    for number in range(otlp_metrics.MAX_SERIES + 5):
        changes = {}
        key = number.to_bytes(16, "big")
        series.rise(DataPoint("m", "", Kind.GAUGE, 1, 0, 1, {}, key), 1, changes, BEGAN)
        series.keep(changes)
    assert len(series._last) == otlp_metrics.MAX_SERIES
    assert bytes(16) not in series._last


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), max_size=30))
def test_rises_add_up_to_what_was_counted(steps):
    """For any counter: rises, restarts of the program, and requests that were sent twice."""
    device = Device()
    counted = value = 0
    start, added = SECOND, 0
    for number, (rise, begins_again, is_sent_twice) in enumerate(steps, start=1):
        if begins_again:
            value, start = 0, number * MINUTE - SECOND
        value += rise
        counted += rise
        metric = total(point(value, number * MINUTE, start=start))
        for _ in range(1 + is_sent_twice):
            added += sum(value for _, value in device.values(metric))
    assert added == counted


NUMBERS = st.builds(
    NumberDataPoint,
    time_unix_nano=st.integers(0, 2**64 - 1),
    start_time_unix_nano=st.integers(0, 2**64 - 1),
    as_int=st.integers(-(2**63), 2**63 - 1),
    flags=st.integers(0, 3),
    attributes=st.lists(
        st.builds(KeyValue, key=st.text(max_size=3), value=st.builds(AnyValue, string_value=st.text(max_size=3))),
        max_size=3,
    ),
)
METRICS = st.one_of(
    st.builds(
        Metric,
        name=st.sampled_from(["door.openings", "door.weight", "x"]),
        unit=st.text(max_size=2),
        gauge=st.builds(Gauge, data_points=st.lists(NUMBERS, max_size=3)),
    ),
    st.builds(
        Metric,
        name=st.sampled_from(["door.openings", "door.weight", "x"]),
        sum=st.builds(
            Sum,
            data_points=st.lists(NUMBERS, max_size=3),
            aggregation_temporality=st.integers(0, 2),
            is_monotonic=st.booleans(),
        ),
    ),
    st.builds(Metric, histogram=st.builds(Histogram, data_points=st.lists(st.builds(HistogramDataPoint), max_size=2))),
)
REQUESTS = st.builds(
    ExportMetricsServiceRequest,
    resource_metrics=st.lists(
        st.builds(
            ResourceMetrics,
            scope_metrics=st.lists(st.builds(ScopeMetrics, metrics=st.lists(METRICS, max_size=3)), max_size=2),
        ),
        max_size=2,
    ),
)


def facts(points):
    found = []
    for one in points:
        known = (one.metric, one.unit, one.kind)
        found.append(
            known if one.kind is Kind.DISTRIBUTION else (*known, one.value, one.start_ns, one.time_ns, one.attributes)
        )
    return found


@given(REQUESTS)
def test_both_encodings_say_the_same(request):
    """Written by Google's library in both, read by us: equal points, in order."""
    written = MessageToJson(request, use_integers_for_enums=True).encode()
    assert facts(otlp_json.decode_metrics(written)) == facts(otlp_protobuf.decode_metrics(request.SerializeToString()))


@given(st.one_of(st.binary(max_size=200), REQUESTS.map(ExportMetricsServiceRequest.SerializeToString)), st.data())
def test_whatever_comes_it_is_read_or_refused(content, data):
    """Random bytes, and real requests with one byte changed."""
    if content:
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :]
    for media_type in (PROTOBUF, JSON):
        asked = Request("POST", "/v1/metrics", headers={"content-type": media_type}, body=content)
        try:
            status = asyncio.run(Device().otlp.take_metrics(asked)).status
        except RequestRefusedError as refused:
            status = refused.refused.reason.status
        assert status in (200, 400)


JSON_NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        "timeUnixNano": st.one_of(st.integers(-(2**65), 2**65), st.integers(0, 2**64 - 1).map(str)),
        "startTimeUnixNano": st.one_of(st.integers(-(2**65), 2**65), st.integers(-5, 2**64).map(str)),
        "asInt": st.one_of(st.integers(-(2**65), 2**65), st.integers(-(2**63), 2**63).map(str)),
        "asDouble": st.one_of(st.floats(), st.sampled_from(["NaN", "Infinity", "1e400", "x"])),
        "flags": st.integers(-1, 2**70),
        "attributes": st.just([{"key": "door.side", "value": {"stringValue": "left"}}]),
    },
)


@given(st.lists(JSON_NUMBERS, max_size=4), st.integers(-1, 3), st.booleans())
def test_whatever_numbers_come_in_json_they_are_read_or_refused(points, temporality, is_monotonic):
    """For a metric that is declared: counters and gauges of any start, time and value."""
    total = {"dataPoints": points, "aggregationTemporality": temporality, "isMonotonic": is_monotonic}
    metrics = [{"name": "door.openings", "sum": total, "gauge": {"dataPoints": points}}]
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).encode()
    asked = Request("POST", "/v1/metrics", headers={"content-type": JSON}, body=body)
    try:
        status = asyncio.run(Device().otlp.take_metrics(asked)).status
    except RequestRefusedError as refused:
        status = refused.refused.reason.status
    assert status in (200, 400)
