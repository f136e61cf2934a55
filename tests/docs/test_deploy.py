"""What deploy/ ships works: the broker starts and refuses what it must, the units are understood by systemd."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from brokers import mosquitto
from discreet_contract.broker import Broker, new_client
from discreet_contract.wire import receipts_topic, reports_topic, resend_topic
from documents import ROOT
from needs import need

SERVER = ROOT / "deploy" / "server"
UNITS = [ROOT / "deploy" / "device" / "discreet-agent.service", SERVER / "discreet-aggregator.service"]
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
MOSQUITTO, MOSQUITTO_PASSWD = (shutil.which(name, path=SEARCH) for name in ("mosquitto", "mosquitto_passwd"))
NOT_AUTHORIZED = 135
REPORTS, RECEIPTS = reports_topic("flights"), receipts_topic("flights", "0")


def wait_for(condition, what, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """A real Mosquitto under the shipped configuration with paths and port moved; its port and its folder."""
    need(MOSQUITTO and MOSQUITTO_PASSWD, "mosquitto is not installed (apt-get install mosquitto)")
    folder, port = tmp_path_factory.mktemp("broker"), free_port()
    passwords = folder / "passwords"
    for option, account in ((["-c"], "aggregator"), ([], "device")):
        subprocess.run([MOSQUITTO_PASSWD, *option, "-b", str(passwords), account, account], check=True)
        (folder / account).write_text(account, encoding="utf-8")
    shutil.copy(SERVER / "mosquitto.acl", folder / "acl")
    (folder / "acl").chmod(0o600)
    text = (SERVER / "mosquitto.conf").read_text(encoding="utf-8")
    for old, new in (
        ("listener 1883 127.0.0.1", f"listener {port} 127.0.0.1\nuser {getpass.getuser()}"),
        ("/etc/mosquitto/discreet.passwd", passwords),
        ("/etc/mosquitto/discreet.acl", folder / "acl"),
        ("/var/lib/mosquitto/", f"{folder}/"),
    ):
        assert old in text
        text = text.replace(old, str(new))
    (folder / "mosquitto.conf").write_text(text, encoding="utf-8")
    log = folder / "log"
    with log.open("wb") as output:
        child = subprocess.Popen([MOSQUITTO, "-c", str(folder / "mosquitto.conf")], stdout=output, stderr=output)
    try:
        wait_for(lambda: listens(port) or child.poll() is not None, "Mosquitto")
        assert child.poll() is None, log.read_text()
        yield port, folder
    finally:
        child.terminate()
        child.wait(10)


class Client:
    """One account's connection: what it received, and what became of what it published."""

    def __init__(self, port, folder, account):
        settings = Broker(f"mqtt://127.0.0.1:{port}", username=account, password_file=str(folder / account))
        self.mqtt = new_client(settings, f"test-{account}-{time.monotonic_ns()}")
        self.received, self.answers, self.subscribed, self.connected = [], {}, 0, None
        self.mqtt.on_connect = lambda _c, _d, _f, code, _p: setattr(self, "connected", code)
        self.mqtt.on_message = lambda _c, _d, message: self.received.append((message.topic, message.payload))
        self.mqtt.on_publish = lambda _c, _d, mid, code, _p: self.answers.__setitem__(mid, code.value)
        self.mqtt.on_subscribe = lambda *_: setattr(self, "subscribed", self.subscribed + 1)
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.loop_start()
        wait_for(lambda: self.connected is not None, "the broker's answer")

    def subscribe(self, topic):
        before = self.subscribed
        self.mqtt.subscribe(topic, qos=0)
        wait_for(lambda: self.subscribed > before, "the subscription's answer")

    def publish(self, topic, payload):
        """MQTT 5 reason code of the broker's answer."""
        mid = self.mqtt.publish(topic, payload, qos=1).mid
        wait_for(lambda: mid in self.answers, "the publication's answer")
        return self.answers[mid]


@contextmanager
def connected(port, folder, account):
    client = Client(port, folder, account)
    try:
        yield client
    finally:
        client.mqtt.disconnect()
        client.mqtt.loop_stop()


def test_the_shipped_broker_starts_without_a_complaint(broker):
    """No deprecated setting, no unreadable file; tests as root are its only complaint."""
    _, folder = broker
    said = (folder / "log").read_text().splitlines()
    assert [line for line in said if "should not be run as root" not in line and "Client" not in line] == []


def test_reports_go_one_way_and_receipts_the_other(broker):
    """A device that listens to reports hears none; a receipt that a device writes is refused and reaches nobody."""
    with (
        connected(*broker, "device") as device,
        connected(*broker, "device") as liar,  # Mosquitto 2.0.11 also cuts the connection of whom it refuses
        connected(*broker, "aggregator") as aggregator,
    ):
        device.subscribe(REPORTS)
        device.subscribe(RECEIPTS)
        aggregator.subscribe(REPORTS)
        assert device.publish(REPORTS, b"report") < 128
        assert liar.publish(RECEIPTS, b"forged") == NOT_AUTHORIZED
        wait_for(lambda: aggregator.received, "the report")
        assert aggregator.publish(RECEIPTS, b"receipt") < 128
        wait_for(lambda: device.received, "the receipt")
        assert device.received == [(RECEIPTS, b"receipt")]
        assert aggregator.received == [(REPORTS, b"report")]


@pytest.mark.parametrize(
    ("account", "topic"),
    [
        ("device", reports_topic("other")),
        ("device", "discreet/1/flights/policy"),
        ("device", "discreet/1/flights/time"),
        ("device", resend_topic("flights")),
        ("device", "anything"),
        ("aggregator", REPORTS),
        ("aggregator", receipts_topic("other", "0")),
    ],
)
def test_nothing_else_may_be_published(broker, account, topic):
    with connected(*broker, account) as client:
        assert client.publish(topic, b"x") == NOT_AUTHORIZED


def test_shared_subscriptions_and_the_resend_topic_are_allowed(broker):
    """Two workers get each report once between them; a device hears the request to send again."""
    with (
        connected(*broker, "aggregator") as first,
        connected(*broker, "aggregator") as second,
        connected(*broker, "device") as device,
    ):
        for worker in (first, second):
            worker.subscribe(f"$share/discreet/{REPORTS}")
        device.subscribe("discreet/1/flights/resend")
        for number in range(20):
            assert device.publish(REPORTS, b"%d" % number) < 16  # somebody is there to take it
        wait_for(lambda: len(first.received) + len(second.received) == 20, "every report")
        assert first.received
        assert second.received
        assert first.publish("discreet/1/flights/resend", b"again") < 16
        wait_for(lambda: device.received, "the request")
    assert sorted(first.received + second.received) == sorted((REPORTS, b"%d" % number) for number in range(20))


@pytest.mark.parametrize("topic", ["#", "discreet/#", "discreet/1/+/reports", f"$share/x/{REPORTS}", "$SYS/#"])
def test_a_device_with_a_wildcard_hears_no_report_and_nothing_of_the_broker(broker, topic):
    """Mosquitto grants each of these subscriptions; what it delivers is only what the account may read.

    The receipt that the aggregator writes last comes over the same connection, so nothing is still on its way.
    """
    with connected(*broker, "device") as device, connected(*broker, "aggregator") as aggregator:
        device.subscribe(topic)
        device.subscribe(RECEIPTS)
        assert device.publish(REPORTS, b"report") < 128
        assert aggregator.publish(RECEIPTS, b"last") < 16
        wait_for(lambda: (RECEIPTS, b"last") in device.received, "the receipt")
        assert {heard for heard, _ in device.received} <= {RECEIPTS}


def test_fleets_on_one_broker_hear_nothing_of_each_other(tmp_path):
    """The shipped rules once for each fleet, with accounts of its own."""
    need(MOSQUITTO_PASSWD, "mosquitto is not installed (apt-get install mosquitto)")
    rules = (SERVER / "mosquitto.acl").read_text(encoding="utf-8")
    accounts = [f"{fleet}-{side}" for fleet in ("flights", "lifts") for side in ("aggregator", "device")]
    both = "".join(
        re.sub(r"(?m)^user ", f"user {fleet}-", rules.replace("/flights/", f"/{fleet}/"))
        for fleet in ("flights", "lifts")
    )
    (tmp_path / "acl").write_text(both, encoding="utf-8")
    (tmp_path / "acl").chmod(0o600)
    for account in accounts:
        create = [] if (tmp_path / "passwords").exists() else ["-c"]
        subprocess.run([MOSQUITTO_PASSWD, *create, "-b", str(tmp_path / "passwords"), account, account], check=True)
        (tmp_path / account).write_text(account, encoding="utf-8")
    files = f"allow_anonymous false\npassword_file {tmp_path}/passwords\nacl_file {tmp_path}/acl"
    with (
        mosquitto(tmp_path, files) as port,
        connected(port, tmp_path, "flights-aggregator") as ours,
        connected(port, tmp_path, "lifts-aggregator") as theirs,
        connected(port, tmp_path, "flights-device") as device,
        connected(port, tmp_path, "lifts-device") as other,
    ):
        for side in (ours, theirs):
            side.subscribe("discreet/1/+/reports")
        other.subscribe("discreet/1/+/receipts/#")
        assert device.publish(REPORTS, b"flights") < 128
        assert ours.publish(RECEIPTS, b"flights") < 128
        assert other.publish(reports_topic("lifts"), b"lifts") < 128
        assert theirs.publish(receipts_topic("lifts", "0"), b"lifts") < 128
        wait_for(lambda: ours.received and theirs.received and other.received, "what is each one's own")
        assert (ours.received, theirs.received) == ([(REPORTS, b"flights")], [(reports_topic("lifts"), b"lifts")])
        assert other.received == [(receipts_topic("lifts", "0"), b"lifts")]
        assert device.publish(reports_topic("lifts"), b"x") == NOT_AUTHORIZED


def test_nobody_comes_in_without_an_account(broker):
    port, folder = broker
    (folder / "stranger").write_text("guess", encoding="utf-8")
    with connected(port, folder, "stranger") as client:
        assert client.connected.is_failure


def test_every_setting_of_the_broker_says_why():
    """A setting, or the run of settings that it stands in, has a comment above it."""
    lines = (SERVER / "mosquitto.conf").read_text(encoding="utf-8").splitlines()
    above = ["", *lines]
    unexplained = [line for before, line in zip(above, lines, strict=False) if line[:1].isalpha() and not before]
    assert unexplained == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line_of_the_unit(unit):
    """`systemd-analyze verify` exits 0 on unknown keys, so its words count; only the binary may be missing here."""
    analyze = shutil.which("systemd-analyze")
    need(analyze, "systemd-analyze is not installed (apt-get install systemd)")
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert [line for line in complaints if unit.name in line or str(unit) in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_unit_is_hardened(unit):
    analyze = shutil.which("systemd-analyze")
    need(analyze, "systemd-analyze is not installed (apt-get install systemd)")
    command = [analyze, "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_units_name_files_that_the_samples_name():
    """Unit and sample configuration agree on where state and socket lie."""
    agent = UNITS[0].read_text(encoding="utf-8")
    sample = (ROOT / "deploy" / "device" / "agent.toml").read_text(encoding="utf-8")
    assert re.search(r"^StateDirectory=discreet$", agent, re.MULTILINE)
    assert 'state_dir = "/var/lib/discreet"' in sample
    assert 'socket = "/run/discreet/agent.sock"' in sample
    server = UNITS[1].read_text(encoding="utf-8")
    state = re.search(r"^StateDirectory=(.+)$", server, re.MULTILINE)[1]
    assert f'state_dir = "{Path("/var/lib") / state}"' in (SERVER / "aggregator.toml").read_text(encoding="utf-8")


def test_the_unit_lets_the_agent_give_its_socket_to_a_group():
    """`socket_group` is in the sample; a call that the unit forbids would keep the agent from starting."""
    analyze = shutil.which("systemd-analyze")
    need(analyze, "systemd-analyze is not installed (apt-get install systemd)")
    listed = subprocess.run(
        [analyze, "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    ).stdout
    sets = {}
    for line in listed.splitlines():
        if line.startswith("@"):
            members = sets[line.strip()] = []
        elif line.strip() and not line.strip().startswith("#") and sets:
            members.append(line.strip())

    def calls(name):
        return {call for member in sets[name] for call in calls(member)} if name in sets else {name}

    allowed = set()
    for said in re.findall(r"^SystemCallFilter=(.+)$", UNITS[0].read_text(encoding="utf-8"), re.MULTILINE):
        named = {call for name in said.removeprefix("~").split() for call in calls(name)}
        allowed = allowed - named if said.startswith("~") else allowed | named
    assert {"chown", "fchownat"} <= allowed
    assert not {"setuid", "mount", "ptrace", "setrlimit"} & allowed


def test_emqx_is_given_the_rules_of_mosquitto():
    """The sample cannot be tried here; that it allows what the tried one allows, and nothing else, can."""
    words = {"read": "subscribe", "write": "publish", "readwrite": "all"}
    wanted, user = set(), ""
    for line in (ROOT / "deploy/server/mosquitto.acl").read_text().splitlines():
        match line.split():
            case ["user", user]:
                pass
            case ["topic", what, topic]:
                wanted.add((user, words[what], topic))
    text = (ROOT / "deploy/server/emqx-acl.conf").read_text()
    rules = [line for line in text.splitlines() if line and not line.startswith("%%")]
    assert rules.pop() == "{deny, all}."
    found = [re.fullmatch(r'\{allow, \{username, "(\w+)"\}, (\w+), \["([^"]+)"\]\}\.', rule) for rule in rules]
    assert {rule.groups() for rule in found if rule} == wanted
    assert len(found) == len(wanted) == 10
