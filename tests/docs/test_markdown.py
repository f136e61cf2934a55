"""Links resolve, samples parse, commands exist."""

import json
import re
import shlex
import tomllib

import click
import msgspec
import pytest
import yaml

from discreet_agent.config import AgentConfig
from discreet_agent.event import Event, EventLine
from discreet_agent.receive.lines import decode_line
from discreet_agent.validate import Validator
from discreet_aggregator.config import AggregatorConfig
from discreet_contract.cli.main import discreet
from discreet_contract.policy.compile import load_policy
from documents import MARKDOWN, ROOT, fences, name_of

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_GENERATED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(path):
    """Headings as the anchors that Markdown renderers make of them."""
    headings = re.findall(r"^#+ (.+)$", _GENERATED.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def samples(language):
    return [
        pytest.param(body, id=f"{name_of(path)}-{index}")
        for path in MARKDOWN
        for index, body in enumerate(fences(path, language))
    ]


@pytest.mark.parametrize("path", MARKDOWN, ids=name_of)
def test_relative_links_resolve(path):
    """Files exist, and so do the headings that a link names."""
    for link in _LINK.findall(_GENERATED.sub("", path.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", MARKDOWN, ids=name_of)
def test_paths_named_in_code_style_exist(path):
    """`scripts/demo` and the like: a renamed file takes its mentions along."""
    text = _GENERATED.sub("", path.read_text(encoding="utf-8"))
    pattern = r"`(?:\./)?((?:agent|aggregator|contract|docs|deploy|policies|scripts|tests)/[\w./-]+)`"
    assert [named for named in re.findall(pattern, text) if not (ROOT / named).exists()] == []


@pytest.mark.parametrize("body", samples("json"))
def test_json_samples_parse(body):
    for line in body.splitlines():
        json.loads(line)


@pytest.mark.parametrize("body", samples("toml"))
def test_toml_samples_are_legal_configurations(body):
    """With ROOT standing for a key; one of the two sides takes each of them."""
    values = tomllib.loads(body.replace("ROOT", "0" * 64))
    msgspec.convert(values, AggregatorConfig if "fleet" in values else AgentConfig)


def test_yaml_samples_parse():
    examples = [path.read_text(encoding="utf-8") for path in (ROOT / "policies" / "examples").glob("*.yaml")]
    for body in [*examples, *(body for path in MARKDOWN for body in fences(path, "yaml"))]:
        yaml.safe_load(body)


@pytest.mark.parametrize(
    ("name", "record"), [("device/agent.toml", AgentConfig), ("server/aggregator.toml", AggregatorConfig)]
)
def test_shipped_configurations_are_legal_also_with_every_comment_taken_away(name, record):
    text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    msgspec.convert(tomllib.loads(text), record)
    full = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    msgspec.convert(tomllib.loads(full), record)
    assert full != text


@pytest.mark.parametrize("name", ["README.md", "docs/data-flow.md", "agent/README.md"])
def test_the_sample_event_is_accepted(name):
    """The line that the documents show, under the policy that they name, a second later."""
    validator = Validator(load_policy(ROOT / "policies" / "examples" / "flights.yaml"))
    lines = [line for body in fences(ROOT / name, "json") for line in body.splitlines() if '"signal"' in line]
    assert lines
    for line in lines:
        [event] = decode_line(line.encode())
        assert isinstance(event, EventLine)
        assert isinstance(validator.check(event, 1_357_673_701_000), Event)


def commands():
    for path in MARKDOWN:
        for body in [*fences(path, "sh"), *fences(path, "text")]:
            for line in body.splitlines():
                words = re.match(r"(?:\$ )?(discreet (?:policy|agent|aggregator)\b.*)", line)
                if words and "…" not in line:
                    yield pytest.param(words[1], id=f"{name_of(path)}: {words[1][:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_in_samples_exist_with_their_options(line):
    words = shlex.split(line, comments=True)[1:]
    command, name = discreet, "discreet"
    context = click.Context(discreet, info_name="discreet")
    while isinstance(command, click.Group) and words and words != ["--help"]:
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, name
    if "--help" not in words:
        command.make_context(name, words)
