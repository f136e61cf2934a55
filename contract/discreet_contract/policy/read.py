"""A policy file, or a folder of them → builtins, with file, line and column of every key and value.

YAML is read in a strict dialect: no anchors, no duplicate keys, no tags, only `true` and
`false` are booleans and only JSON's numbers are numbers, so that `on`, `0777`, `1:30` and
dates stay the text they look like.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from discreet_contract.errors import PolicyError, Problem
from discreet_contract.files import read_or_explain

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from discreet_contract.policy.shape import Path

MAX_POLICY_BYTES = 1_000_000
MAX_MODEL_BYTES = 100_000
MAX_DEPTH = 40
MAX_FILES = 200  # of a policy folder
MAX_INTEGER = 2**53 - 1  # what canonical JSON carries exactly


_MODEL = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.json", re.ASCII)  # no "..", no root


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    line: int  # from 1
    column: int  # from 1

    def problem(self, rule: str, message: str) -> Problem:
        return Problem(self.file, self.line, self.column, rule, message)


class _Positions:
    """Where each path of the document stands: its value, and the key that leads to it."""

    def __init__(self) -> None:
        self.values: dict[Path, _Place] = {}
        self.keys: dict[Path, _Place] = {}
        self.unreadable: set[Path] = set()

    def take(self, other: _Positions, dropped: set[Path]) -> None:
        """Add the places of another file, without what stands in `dropped` paths; the first place of a path stays."""

        def kept(path: Path) -> bool:
            return not any(path[:length] in dropped for length in (1, 2))

        self.values = {path: place for path, place in other.values.items() if kept(path)} | self.values
        self.keys = {path: place for path, place in other.keys.items() if kept(path)} | self.keys
        self.unreadable |= {path for path in other.unreadable if kept(path)}


class PolicyText:
    """A policy file that was read: its builtins, its problems so far, and a place for each path."""

    def __init__(self, file: str, value: object, positions: _Positions, problems: list[Problem]) -> None:
        self.file = file
        self.value = value
        self.problems = problems
        self._positions = positions

    def merge(self, other: PolicyText) -> None:
        """Take in another file of the same policy: sections of named things add up, everything else stands once."""
        self.problems += other.problems
        if not isinstance(self.value, dict) or not isinstance(other.value, dict):
            broken = self if not isinstance(self.value, dict) else other
            self.problems.append(broken.problem((), "TYPE", "a file of a policy folder is a mapping"))
            return
        twice: set[Path] = set()
        for section, content in other.value.items():
            if section not in self.value:
                self.value[section] = content
                continue
            mine = self.value[section]
            if not isinstance(mine, dict) or not isinstance(content, dict):
                twice.add((section,))
                continue
            twice |= {(section, name) for name in content if name in mine}
            self.value[section] = content | mine
        for path in sorted(twice, key=str):
            for one, elsewhere in ((self, other), (other, self)):
                where = elsewhere.problem(path, "", "", on_key=True)
                message = f"key {'.'.join(map(str, path))!r} also stands in {where.file}:{where.line}"
                self.problems.append(one.problem(path, "DUPLICATE_KEY", message, on_key=True))
        self._positions.take(other._positions, twice)

    def take_in(self, path: Path, other: PolicyText) -> None:
        """Let the keys of another file stand in the mapping at `path`, where that file was read for it."""
        mine: Any = self.value
        for key in path:
            mine = mine[key]
        self.problems += other.problems
        if not isinstance(other.value, dict):
            raise PolicyError([other.problem(path, "TYPE", "a file that is taken in is a mapping")])
        twice: set[Path] = {(*path, key) for key in other.value if key in mine}
        for place in sorted(twice, key=str):
            self.problems.append(
                other.problem(place, "DUPLICATE_KEY", f"key {place[-1]!r} stands in both files", on_key=True)
            )
        mine |= {key: value for key, value in other.value.items() if key not in mine}
        self._positions.take(other._positions, set())

    def give_up(self, path: Path, lacking: str, rule: str, message: str) -> None:
        """A problem at `path`: its mapping cannot be judged, and what it lacks for it is not reported again."""
        self.problems.append(self.problem(path, rule, message))
        mapping: Any = self.value
        for key in path[:-1]:
            mapping = mapping[key]
        mapping.setdefault(lacking, None)
        self._positions.unreadable.add(path[:-1])

    def is_unreadable(self, path: Path) -> bool:
        """Whether the value at `path`, or one around it, was refused by the reader."""
        return any(path[:length] in self._positions.unreadable for length in range(len(path) + 1))

    def problem(self, path: Path, rule: str, message: str, *, on_key: bool = False) -> Problem:
        """A problem at `path`, or at its nearest ancestor that stands in the file."""
        first, second = self._positions.values, self._positions.keys
        if on_key:
            first, second = second, first
        for length in range(len(path), -1, -1):
            place = first.get(path[:length]) or second.get(path[:length])
            if place is not None:
                return place.problem(rule, message)
        return Problem(self.file, 1, 1, rule, message)


class _Loader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises: see the module's docstring."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.refused: list[tuple[yaml.Mark, str, str]] = []
        self.tagged: set[int] = set()  # ids of the nodes with a tag; the document keeps them alive

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Note what the composer forgets: where anchors, aliases and tags stood."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if getattr(event, "anchor", None) is not None:
            message = "anchors and aliases are not part of the policy language; write it out"
            self.refused.append((event.start_mark, "ALIAS", message))
        if getattr(event, "tag", None) is not None:
            self.refused.append((event.start_mark, "TAG", "tags are not part of the policy language; remove it"))
            self.tagged.add(id(node))
        return node


_NULLS = "tag:yaml.org,2002:null"
_INTEGER = r"-?(?:0|[1-9][0-9]*)"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag == _NULLS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, _form, _first in (
    ("bool", "true|false", "tf"),
    ("int", _INTEGER, "-0123456789"),
    ("float", _INTEGER + r"(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", "-0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_form})$"), list(_first))


def read_policy_text(path: FilePath) -> PolicyText:
    """Read a YAML file, or every `*.yaml` of a folder as one policy.

    Raises PolicyError where no document can be made of it at all.
    """
    if not path.is_dir():
        return _read_file(path)
    files = sorted(file for file in path.rglob("*.yaml") if file.is_file())[: MAX_FILES + 1]
    if not files or len(files) > MAX_FILES:
        message = f"a policy folder holds one to {MAX_FILES} files named *.yaml"
        raise PolicyError([Problem(str(path), 1, 1, "FOLDER", message)])
    texts: list[PolicyText] = []
    problems: list[Problem] = []
    for file in files:
        try:
            texts.append(_read_file(file))
        except PolicyError as exc:
            problems += exc.problems
    if problems:
        raise PolicyError(sorted(problems + [problem for text in texts for problem in text.problems]))
    whole, *others = texts
    for text in others:
        whole.merge(text)
    return whole


def _read_file(path: FilePath) -> PolicyText:
    content = read_or_explain(
        path, what="a policy", hint="name an existing policy file, like policies/examples/flights.yaml"
    )
    if len(content) > MAX_POLICY_BYTES:
        raise PolicyError([Problem(str(path), 1, 1, "SIZE", f"a policy is at most {MAX_POLICY_BYTES} bytes")])
    text = parse_policy_text(content, str(path))
    take_models(text, path.parent)
    return text


def take_models(text: PolicyText, folder: FilePath) -> None:
    """Take in the files that scores name as their `model`."""
    scores = text.value.get("scores") if isinstance(text.value, dict) else None
    for name, score in scores.items() if isinstance(scores, dict) else ():
        if isinstance(score, dict) and isinstance(score.get("model"), str):
            _take_model(text, ("scores", name), folder, score["model"])


def _take_model(text: PolicyText, at: Path, folder: FilePath, model: str) -> None:
    try:
        text.take_in(at, _read_model(folder, model, at))
    except OSError as exc:
        text.give_up((*at, "model"), "weights", "MODEL", f"cannot read {folder / model}: {exc.strerror}")
    except PolicyError as exc:
        text.problems += exc.problems
        message = "a model is a readable *.json beside this file, or in a folder beside it"
        text.give_up((*at, "model"), "weights", "MODEL", message)


def _read_model(folder: FilePath, model: str, at: Path) -> PolicyText:
    if not _MODEL.fullmatch(model):
        raise PolicyError([])
    file = folder / model
    content = file.read_bytes()
    if len(content) > MAX_MODEL_BYTES:
        raise PolicyError([Problem(str(file), 1, 1, "SIZE", f"a model is at most {MAX_MODEL_BYTES} bytes")])
    return parse_policy_text(content, str(file), at)


def parse_policy_text(content: bytes, file: str, at: Path = ()) -> PolicyText:
    """The same for bytes at hand; `at`: where in the policy they shall stand."""
    try:
        loader = _Loader(content.decode("utf-8"))
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as exc:
        line, column = (exc.problem_mark.line, exc.problem_mark.column) if exc.problem_mark else (0, 0)
        raise PolicyError([Problem(file, line + 1, column + 1, "YAML", str(exc.problem))]) from exc
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as exc:
        raise PolicyError([Problem(file, 1, 1, "YAML", f"not a YAML text in UTF-8 ({type(exc).__name__})")]) from exc
    if root is None:
        raise PolicyError([Problem(file, 1, 1, "YAML", "the file is empty")])
    positions = _Positions()
    problems = [Problem(file, mark.line + 1, mark.column + 1, rule, message) for mark, rule, message in loader.refused]
    value = _Builder(file, positions, problems, loader.tagged).build(root, at)
    return PolicyText(file, value, positions, problems)


class _Builder:
    def __init__(self, file: str, positions: _Positions, problems: list[Problem], reported: set[int]) -> None:
        self._file = file
        self._positions = positions
        self._problems = problems
        self._reported = set(reported)  # ids of nodes to pass over: with a tag, or met before through an alias
        self._scalars = _Loader("")

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._positions.values[path] = self._place(node)
        if id(node) in self._reported:
            self._positions.unreadable.add(path)
            return None
        self._reported.add(id(node))
        if len(path) > MAX_DEPTH:
            return self._unreadable(node, path, "DEPTH", f"nested deeper than {MAX_DEPTH}")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, "KEY", "a key is plain text")
                continue
            key = str(key_node.value)
            if not _is_text(key):
                self._refuse(key_node, "YAML", "a key is plain text")
                continue
            if key in result:
                self._refuse(key_node, "DUPLICATE_KEY", f"key {key!r} stands twice")
                continue
            self._positions.keys[(*path, key)] = self._place(key_node)
            result[key] = self.build(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            value = self._scalars.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as exc:
            return self._unreadable(node, path, "YAML", f"cannot read this value ({type(exc).__name__})")
        match value:
            case str() if not _is_text(value):
                return self._unreadable(node, path, "YAML", "not a text: half of a surrogate pair")
            case float() if not math.isfinite(value):
                return self._unreadable(node, path, "NUMBER", "a number is finite")
            case int() if abs(value) > MAX_INTEGER:
                return self._unreadable(node, path, "NUMBER", "an integer is below 2^53, or JSON cannot carry it")
        return value

    def _unreadable(self, node: yaml.Node, path: Path, rule: str, message: str) -> None:
        self._refuse(node, rule, message)
        self._positions.unreadable.add(path)

    def _refuse(self, node: yaml.Node, rule: str, message: str) -> None:
        self._problems.append(self._place(node).problem(rule, message))

    def _place(self, node: yaml.Node) -> _Place:
        return _Place(self._file, node.start_mark.line + 1, node.start_mark.column + 1)


def _is_text(value: str) -> bool:
    """Whether a text can be written as UTF-8; YAML's escapes can spell half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
