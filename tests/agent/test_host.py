"""The host collector gives an event that its own example policy accepts."""

import time
from pathlib import Path

from discreet_agent.event import Event
from discreet_agent.receive import host
from discreet_agent.receive.host import sample_host
from discreet_agent.validate import Validator
from discreet_contract.policy.compile import load_policy

POLICY = load_policy(Path(__file__).parents[2] / "policies" / "examples" / "host.yaml")


def test_this_host_can_be_sampled():
    """Real psutil, real host; a temperature only where there is a sensor."""
    now_ms = time.time_ns() // 1_000_000
    line = sample_host("host.sampled", POLICY.signals["host.sampled"], now_ms)
    event = Validator(POLICY).check(line, now_ms)

    assert isinstance(event, Event)
    assert set(event.fields) - {"temperature"} == {"load_percent", "memory_percent", "memory_pressure", "uptime"}
    assert 0 < event.fields["memory_percent"] <= 100
    assert event.fields["uptime"] > 0


def test_an_undeclared_field_is_not_even_read():
    """Minimisation begins at the source."""
    signal = POLICY.signals["host.sampled"]
    narrow = type(signal)(
        **{name: getattr(signal, name) for name in signal.__struct_fields__}
        | {"fields": {"uptime": signal.fields["uptime"]}}
    )
    assert set(sample_host("host.sampled", narrow, 0).fields) == {"uptime"}


def test_a_sensor_that_fails_is_left_out(monkeypatch):
    """A fault of a driver must not end the agent."""

    def fails():
        raise OSError("no data available")

    monkeypatch.setitem(host._READERS, "temperature", fails)
    monkeypatch.setitem(host._READERS, "load_percent", lambda: float("nan"))
    line = sample_host("host.sampled", POLICY.signals["host.sampled"], 0)
    assert set(line.fields) == {"memory_percent", "memory_pressure", "uptime"}
