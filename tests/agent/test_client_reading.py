"""The reading client that apps copy: against real receivers that come, go, refuse and stay silent."""

import ast
import hashlib
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from apps import FLAGS, MemoryApps
from discreet_agent import client_reading as module
from discreet_agent.client_reading import Reader
from discreet_agent.personal.apps import Exposure
from discreet_contract.policy.operation import Sender
from receiving import Recorder, receiving

SESAME = "open sesame"


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "agent.sock"


@pytest.fixture
def apps():
    return MemoryApps()


@pytest.fixture
def reader(path):
    with Reader(path) as reader:
        yield reader


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)


def test_the_file_needs_nothing_but_the_standard_library():
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert imported <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("key", "default", "value"),
    [
        ("autoplay", False, True),
        ("rows", "editorial", "personal"),
        ("columns", 1, 3),
        ("columns", 1.0, 3.0),
        ("volume", 1.0, 10.0),
        ("theme", {}, {"colour": "red", "sizes": [1, 2]}),
        ("order", [], ["news", "drama"]),
        ("rows", None, "personal"),
        ("retired", "mine", "mine"),
        ("broken", "mine", "mine"),
        ("cows", "mine", "mine"),
        ("rows", 1, 1),
        ("autoplay", 1, 1),
        ("columns", True, True),
    ],
)
def test_a_flag_has_its_value_or_the_apps_own_default(path, apps, reader, key, default, value):
    with receiving(path, Recorder(), apps=apps):
        found = reader.flag(key, default)
        reader.close()
    assert (found, type(found)) == (value, type(value))


def test_a_context_goes_along(path, apps, reader):
    with receiving(path, Recorder(), apps=apps):
        reader.flag("autoplay", False, {"country": "NL"})
        reader.close()
    assert apps.contexts == [{"country": "NL"}]


def test_a_feature_has_its_value_or_the_apps_own_default(path, apps, reader):
    with receiving(path, Recorder(), apps=apps):
        found = [reader.feature(name, -1) for name in ("minutes_7d", "top_genres", "evenings", "cows")]
        reader.close()
    assert found == [630, {"news": 4.5, "sport": 1.0}, -1, -1]


def test_reading_a_flag_is_no_exposure_and_saying_so_is(path, apps, reader):
    with receiving(path, Recorder(), apps=apps):
        reader.flag("autoplay", default=False)
        assert apps.exposures == []
        assert reader.exposed("autoplay", "on") is True
        reader.close()
    assert apps.exposures == [Exposure("autoplay", "on")]


@pytest.mark.usefixtures("impatient")
def test_exposures_wait_for_an_agent_added_up(path, apps, reader):
    """Before there is one, and while its store cannot be written."""
    assert [reader.exposed("autoplay", "on") for _ in range(3)] == [False] * 3
    with receiving(path, Recorder(), apps=apps):
        apps.is_out_of_order = True
        assert reader.exposed("rows") is False
        apps.is_out_of_order = False
        reader.flag("columns", 1)
        reader.close()
    assert apps.exposures == [Exposure("autoplay", "on", 3), Exposure("rows")]


@pytest.mark.usefixtures("impatient")
def test_a_name_that_cannot_be_one_takes_no_others_with_it(path, apps, reader):
    assert [reader.exposed(*names) for names in (("autoplay",), ("x" * 65,), ("",), ("rows", ""))] == [False] * 4
    with receiving(path, Recorder(), apps=apps):
        reader.close()
    assert apps.exposures == [Exposure("autoplay")]


@pytest.mark.usefixtures("impatient")
def test_what_waits_is_bounded(path, apps, reader):
    for number in range(3 * module.MAX_KEPT_EXPOSURES):
        reader.exposed(f"flag_{number}")
    with receiving(path, Recorder(), apps=apps):
        reader.close()
    assert len(reader._kept) == 0


def test_without_an_agent_an_app_is_not_slowed_down(reader):
    begun = time.monotonic()
    assert [reader.flag("autoplay", False) for _ in range(1000)] == [False] * 1000
    assert time.monotonic() - begun < 0.5


def test_an_agent_that_says_nothing_costs_an_app_a_bounded_time(path, reader, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        begun = time.monotonic()
        assert reader.flag("autoplay", False) is False
        assert reader.feature("minutes_7d", 0) == 0
        assert time.monotonic() - begun < 0.5


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("answer", [b"[]\n", b"nonsense\n", b'{"value": {"a"\n', b"", b'{"features": 7}\n', b"\xff\n"])
def test_an_answer_that_is_none_gives_the_default(path, reader, answer):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def serve():
            for _ in range(2):
                peer, _ = other.accept()
                with peer:
                    peer.recv(4096)
                    peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert reader.flag("autoplay", False) is False
        reader._drop_link()
        assert reader.feature("minutes_7d", 0) == 0


@pytest.mark.usefixtures("impatient")
def test_a_reader_outlives_its_agent(path, apps, reader):
    for _ in range(2):
        with receiving(path, Recorder(), apps=apps):
            assert reader.flag("autoplay", False) is True
        assert reader.flag("autoplay", False) is False


def test_what_cannot_be_said_in_json_gives_the_default(path, apps, reader):
    with receiving(path, Recorder(), apps=apps):
        assert reader.flag("autoplay", False, {"what": object()}) is False
        assert reader.flag("autoplay", False, {"what": float("nan")}) is False
        assert reader.flag("autoplay", False) is True
        reader.close()


def test_a_token_goes_first(path, apps):
    app = Sender(token_sha256=hashlib.sha256(SESAME.encode()).hexdigest(), flags=("autoplay",))
    with receiving(path, Recorder(), {"app": app}, apps=apps):
        with Reader(path, token=SESAME) as reader:
            found = reader.flag("autoplay", False), reader.flag("rows", "mine"), reader.feature("minutes_7d")
        with Reader(path, token="wrong") as stranger:  # noqa: S106
            refused = stranger.flag("autoplay", False)
    assert found == (True, "mine", None)
    assert refused is False


def test_threads_share_one_reader(path, apps, reader):
    wrong = []

    def read(key, default, value):
        wrong.extend(found for _ in range(200) if (found := reader.flag(key, default)) != value)

    with receiving(path, Recorder(), apps=apps):
        threads = [
            threading.Thread(target=read, args=(key, default, FLAGS[key].value))
            for key, default in (("autoplay", False), ("rows", "x"), ("columns", 0))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reader.close()
    assert wrong == []


def test_a_forked_child_asks_over_a_connection_of_its_own(path, apps, reader):
    with receiving(path, Recorder(), apps=apps):
        assert reader.flag("autoplay", False) is True
        child = os.fork()
        if child == 0:
            os._exit(0 if reader.flag("rows", "x") == "personal" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert reader.flag("columns", 0) == 3
        reader.close()


@pytest.mark.parametrize("context", ["text", 5, [1], [("a",)], {"a": {1, 2}}, {(1, 2): 3}])
def test_a_context_that_is_none_gives_the_default(path, apps, reader, context):
    with receiving(path, Recorder(), apps=apps):
        assert reader.flag("autoplay", "mine", context) == "mine"


@pytest.mark.parametrize("name", [None, 5, ["autoplay"], {}, b"autoplay"])
def test_names_of_any_kind_never_raise(path, apps, reader, name):
    with receiving(path, Recorder(), apps=apps):
        assert reader.flag(name, "mine") == "mine"
        assert reader.feature(name, "mine") == "mine"
        assert reader.exposed(name) is False


@pytest.mark.parametrize(
    "answer", [b'{"value": ' + b"[" * 100_000 + b"\n", b'{"features": {"a": 5}}\n', b'{"features": {"a": null}}\n']
)
def test_an_answer_of_any_shape_never_raises(path, answer):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve():
            link, _ = listener.accept()
            with link:
                link.recv(65_536)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with Reader(path) as reader:
            assert reader.feature("a", "mine") == "mine"
        thread.join(5)


def test_a_child_forked_while_another_thread_asks_is_not_stuck(path, apps, reader):
    with receiving(path, Recorder(), apps=apps):
        with reader._lock:
            child = os.fork()
            if child == 0:
                os._exit(0 if reader.flag("rows", "mine") == "personal" else 1)
        for _ in range(100):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.05)
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert ended == child
        assert status == 0
