"""P6: off is off. Watched from outside, at the system calls of a real daemon, while it is asked, fed and connected."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest

from device_bench import START, make_policy, opening
from discreet_agent.ask import ask
from discreet_agent.consent import Word, privacy_class, write_word
from discreet_agent.device import DATABASE
from discreet_agent.store.schema import MIGRATIONS
from discreet_contract.errors import StoreError
from needs import need
from senders import Sender

WATCH_SECONDS = 6
CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,"
    "unlink,unlinkat,ftruncate,truncate,fallocate,link,linkat,symlink,mkdir,mkdirat,chmod,fchmod,utimensat,mmap,"
    "socket,connect,sendto,sendmsg,sendmmsg"
)
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
NETWORK = re.compile(r"AF_INET6?|AF_NETLINK|<(TCP|UDP)")


def watched(process, trace, seconds, meanwhile):
    """Every file or network call of a running process, each with the file behind its descriptor."""
    command = ["strace", "-f", "-y", "-yy", "-s", "64", "-e", f"trace={CALLS}", "-o", trace, "-p", str(process.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert "attached" in tracer.stderr.readline()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        meanwhile()
        time.sleep(0.2)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    tracer.stderr.close()
    return trace.read_text().splitlines()


def touches_disk_or_network(line):
    """Whether a call writes to a file, changes a folder, or says anything to a network."""
    if NETWORK.search(line):
        return True
    call = line.split(" ", 1)[-1].lstrip().split("(")[0]
    if call in {"open", "openat"}:
        return bool(WRITES.search(line))
    if call == "mmap":
        return "MAP_SHARED" in line and "PROT_WRITE" in line
    if call in {
        "write",
        "writev",
        "sendto",
        "sendmsg",
    }:  # to a sender on the Unix socket, to the loop itself, to the log
        return not re.search(r"\(\d+<(UNIX|socket|anon_inode|pipe|/[^>]*agent\.log)", line)
    return call not in {"socket", "connect"} and not line.endswith("+++") and " --- " not in line


def files_in(folder):
    """Every file with its content and its times."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in folder.iterdir()
    }


@pytest.fixture
def connected(deployment):
    need(shutil.which("strace") is not None, "strace is not installed")
    deployment.seed(windows=2)
    deployment.start_agent()
    deployment.wait_until(lambda: deployment.asked().get("broker") == "connected", "the agent is connected")
    return deployment


def poke(deployment):
    """Senders and owners do not stop because the agent is off."""
    line = {"signal": "door.opened", "version": "1-0-0", "time": time.time_ns() // 1_000_000, "fields": {}}
    line["fields"] = {"seconds": 1, "side": "left"}
    [refused] = ask(deployment.socket, json.dumps(line).encode())["refused"]
    assert refused["reason"] == "CONSENT_OFF"
    assert ask(deployment.socket, b'{"query": "status"}')["state"] == "off"


def test_off_is_no_write_and_no_packet(connected):
    """Six seconds at the system calls: nothing written, nothing renamed, nothing sent; no file has changed.

    Every packet of a process passes one of these calls; the agent uses no raw sockets and no io_uring.
    """
    connected.discreet("agent", "off", "--config", connected.agent_toml)
    connected.wait_until(lambda: connected.asked()["state"] == "off", "it is off")
    connected.wait_until(lambda: connected.asked()["broker"] != "connected", "the connection is closed")
    before = files_in(connected.folder / "agent")
    agent = connected.processes["agent"]
    trace = connected.folder / "strace.out"
    lines = watched(agent, trace, WATCH_SECONDS, lambda: poke(connected))
    assert len(lines) > 20, lines  # it was watched: senders were answered
    assert [line for line in lines if touches_disk_or_network(line)] == []
    assert files_in(connected.folder / "agent") == before
    assert not sockets_of(agent.pid) & internet_sockets()


def test_the_watch_sees_what_an_agent_that_is_on_does(connected):
    """The same watch finds writes and packets, so that its silence means something."""
    sender = Sender(connected.socket, "s")
    numbers = iter(range(1000))

    def send():
        assert sender.ask([f"s-{next(numbers)}"]) == {"ok": 1}

    lines = watched(connected.processes["agent"], connected.folder / "strace.out", 2, send)
    found = [line for line in lines if touches_disk_or_network(line)]
    assert any("pwrite64" in line and "agent.db-wal" in line for line in found)
    assert any("sync(" in line for line in found)
    assert sockets_of(connected.processes["agent"].pid) & internet_sockets()


def sockets_of(pid):
    """Inodes of a process's open sockets."""
    names = []
    for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - names are wanted
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{number}"))  # noqa: PTH115
        except FileNotFoundError:
            continue
    return {name.removeprefix("socket:[").removesuffix("]") for name in names if name.startswith("socket:")}


def internet_sockets():
    """Inodes of every TCP and UDP socket of this machine."""
    inodes = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with open(f"/proc/net/{table}") as file:  # noqa: PTH123
            inodes |= {line.split()[9] for line in file.readlines()[1:]}
    return inodes


# --- the owner's word outlives everything that we do


def say(deployment, word):
    return deployment.discreet("agent", word, "--config", deployment.agent_toml)


def test_no_survives_restarts_a_new_policy_and_a_lost_database(lone):
    """Neither start, nor stop, nor a newer version of the policy, nor an empty folder beside it makes it a yes."""
    say(lone, "off")
    said = (lone.folder / "agent" / "consent.json").read_bytes()
    lone.start_agent()
    lone.wait_until(lambda: lone.asked().get("state") == "off", "it is off")
    assert lone.stop("agent") == 0
    (lone.folder / "policy.json").write_bytes(lone.release(("retention: 2d", "retention: 1d")))
    (lone.folder / "agent" / DATABASE).write_bytes(b"unreadable")
    lone.start_agent()
    lone.wait_until(lambda: lone.asked().get("state") == "off", "it is off still")
    assert lone.asked()["policy"]["version"] == 2
    assert (lone.folder / "agent" / "consent.json").read_bytes() == said


def test_a_yes_is_not_stretched_by_a_policy_that_asks_for_more(bench):
    """It pauses; when the policy is rolled back the old yes is good again, and was never written anew."""
    bench.folder.mkdir()
    write_word(bench.folder, Word("on", 0, privacy_class(bench.policy.policy)))
    given = (bench.folder / "consent.json").read_bytes()
    device = bench.open()
    assert device.pipeline.record([opening(START)]) == [None]
    for version, asks, taken in ((2, 1000.5, False), (3, 1000, True)):
        device.pipeline.adopt(make_policy(version=version, cap=asks))
        assert (device.pipeline.record([opening(START)]) == [None]) is taken
    assert (bench.folder / "consent.json").read_bytes() == given


@pytest.mark.parametrize("word", ["on", "off"])
@pytest.mark.parametrize("migrations", range(1, len(MIGRATIONS) + 1))
def test_the_word_survives_an_upgrade_from_any_version(bench, word, migrations):
    """Tables are migrated; the word stands beside them and counts as before."""
    bench.folder.mkdir(mode=0o700)
    given_to = privacy_class(bench.policy.policy) if word == "on" else None
    write_word(bench.folder, Word(word, 0, given_to))
    with closing(sqlite3.connect(bench.folder / DATABASE)) as database:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for _, script in MIGRATIONS[:migrations]:
            database.executescript(script)
        database.execute(f"PRAGMA user_version = {migrations}")
    said = (bench.folder / "consent.json").read_bytes()
    device = bench.open()
    assert (device.pipeline.record([opening(START)]) == [None]) is (word == "on")
    assert device.store.raw.size()[1] == (1 if word == "on" else 0)
    assert (bench.folder / "consent.json").read_bytes() == said


def test_the_word_survives_a_downgrade_and_what_later_versions_may_add(bench):
    """A database of a newer version is refused; the word is not touched, and its unknown facts do not make it a yes."""
    bench.folder.mkdir()
    write_word(bench.folder, Word("off", 0))
    newer = json.loads((bench.folder / "consent.json").read_bytes()) | {"said_by": "a later version's fact"}
    (bench.folder / "consent.json").write_text(json.dumps(newer))
    with closing(sqlite3.connect(bench.folder / DATABASE)) as database:
        database.execute("PRAGMA user_version = 1000")
    with pytest.raises(StoreError, match="newer version"):
        bench.open()
    (bench.folder / DATABASE).unlink()
    device = bench.open()
    assert device.pipeline.record([opening(START)])[0].reason.value == "CONSENT_OFF"
    assert json.loads((bench.folder / "consent.json").read_bytes()) == newer
