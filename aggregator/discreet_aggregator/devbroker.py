"""An embedded MQTT broker for trying things out: loopback only, memory only, nothing to install beside Python.

It ignores session expiry and wants acknowledgements in order, so it is no broker for a fleet.
"""

from __future__ import annotations

import logging
import signal
import tempfile
from pathlib import Path

from discreet_contract.errors import ConfigError

_RUMQTTD = """
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 2000
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1065536
    max_inflight_count = 1000
    dynamic_filters = true
"""


def run_dev_broker(port: int) -> None:
    """Serve MQTT 5 on 127.0.0.1:`port` until killed. Raises ConfigError if it cannot start."""
    try:
        from iotcore.iotcore import IotCoreBroker
    except ImportError as exc:
        raise ConfigError(
            "the embedded broker is not installed", hint="pip install 'discreet-aggregator[dev-broker]'"
        ) from exc
    # rumqttd's message routing logs every packet as an error (iotcore/_serve.py does the same).
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="discreet-broker-") as folder:
        path = Path(folder) / "rumqttd.toml"
        path.write_text(_RUMQTTD.format(port=port), encoding="utf-8")
        broker = IotCoreBroker(config_path=str(path))  # reads the file now
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_DFL)  # run_forever never returns to Python to run a handler
    try:
        broker.check_ports()
        broker.run_forever()
    except OSError as exc:
        raise ConfigError(f"the embedded broker {exc}", hint="choose another --port") from exc
