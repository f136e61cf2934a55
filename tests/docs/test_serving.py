"""Every request of docs/serving.md works as it is typed, and its samples have the form of real answers."""

import json
import shutil
import subprocess

import pytest

from apps import MemoryApps
from discreet_agent.personal.apps import Seen
from discreet_agent.personal.values import FeatureValue, ScoreValue
from documents import ROOT, fences
from needs import need
from receiving import Recorder, receiving, talk
from serving import serving

PAGE = ROOT / "docs" / "serving.md"
ADDRESS = "127.0.0.1:4318"
CURLS = [line for body in fences(PAGE, "sh") for line in body.splitlines() if line.startswith("curl")]
LINES = [json.loads(line) for body in fences(PAGE, "json") for line in body.splitlines()]
SAMPLES = [line for line in LINES if "query" not in line]
QUERIES = [line for line in LINES if "query" in line]


def shape(told):
    """Names in it, all the way down, and kinds of values; null fits every kind."""
    if isinstance(told, dict):
        return {name: shape(value) for name, value in told.items()}
    return [shape(part) for part in told[:1]] if isinstance(told, list) else type(told).__name__


def typed(line, served):
    done = subprocess.run(
        ["bash", "-c", line.replace(ADDRESS, served.address)], capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout


class OfThePage(MemoryApps):
    """Has what the page's policy has."""

    def features(self, _speaker):
        return [FeatureValue("minutes_7d", "5b1f", 630, 1_700_000_000_000, 0.92)]

    def scores(self, _speaker):
        return [ScoreValue("binge", 0.31, ("evenings",))]

    def segments(self, speaker):
        return super().segments(speaker)[:1]


@pytest.fixture(scope="module")
def served():
    need(shutil.which("curl"), "curl is not installed")
    with serving(apps=OfThePage()) as served:
        yield served


@pytest.mark.parametrize("line", CURLS)
def test_every_request_works_as_typed(served, line):
    said = typed(line, served)
    if "/events" in line:
        assert said.startswith("retry: 2000\n\nid: ")
        return
    if " -i " in line:
        head, said = said.replace("\r", "").split("\n\n", 1)
        assert head.startswith("HTTP/1.1 200 OK")
        assert "ETag: " in head
    answer = json.loads(said)
    assert "error" not in answer
    assert "errorCode" not in answer


def test_samples_have_the_form_of_the_answers(served):
    answers = [json.loads(typed(line, served)) for line in CURLS if "/events" not in line and " -i " not in line]
    shapes = [shape(answer) for answer in answers]
    assert len(SAMPLES) == 6
    assert [sample for sample in SAMPLES if shape(sample) not in shapes] == []


@pytest.mark.parametrize("query", QUERIES, ids=json.dumps)
def test_every_query_is_answered(tmp_path_factory, query):
    path = tmp_path_factory.mktemp("s") / "a.sock"
    with receiving(path, Recorder(), apps=MemoryApps()):
        [answer] = talk(path, query)
    assert not {"error", "refused", "you asked"} & set(answer)


def test_every_fate_of_an_exposure_is_documented():
    text = PAGE.read_text(encoding="utf-8")
    assert [seen.value for seen in Seen if f"| `{seen.value}` |" not in text] == []


def test_the_bounds_are_the_codes_own():
    from discreet_agent.receive import asked, ofrep_events, personal_http

    text = PAGE.read_text(encoding="utf-8")
    assert f"at most {asked.MAX_CONTEXT_BYTES // 1024} KiB" in text
    assert f"At most {asked.MAX_EXPOSURES} exposures\nand {personal_http.MAX_TRACKED_EVENTS:,} events" in text
    assert f"At most {ofrep_events.MAX_STREAMS} streams" in text
    assert f"within {ofrep_events.DEBOUNCE_SECONDS * 1000:.0f} ms" in text
    assert f"every {ofrep_events.HEARTBEAT_SECONDS:.0f} seconds" in text


def test_the_five_lines_work(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("x") / "discreet" / "agent.sock"
    path.parent.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path.parents[1]))
    apps = MemoryApps()
    [lines] = [body for body in fences(PAGE, "python") if "Reader" in body]
    with receiving(path, Recorder(), apps=apps):
        names = {}
        exec(lines, names)  # noqa: S102 - the page's own sample
        names["reader"].close()
    assert [exposure.flag for exposure in apps.exposures] == ["autoplay"]
    assert len([line for line in lines.splitlines() if line]) == 5
