"""A policy file → builtins, with the line and column of every key and value.

YAML is read in a strict dialect: no anchors, no duplicate keys, no tags, and only `true`
and `false` are booleans, so that `on`, `off` and dates stay the text they look like.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from discreet_contract.errors import PolicyError, Problem
from discreet_contract.files import read_or_explain

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from discreet_contract.policy.shape import Path

MAX_POLICY_BYTES = 1_000_000
MAX_DEPTH = 40


class _Positions:
    """Where each path of the document stands: its value, and the key that leads to it."""

    def __init__(self) -> None:
        self.values: dict[Path, yaml.Mark] = {}
        self.keys: dict[Path, yaml.Mark] = {}


class PolicyText:
    """A policy file that was read: its builtins, its problems so far, and a place for each path."""

    def __init__(self, file: str, value: object, positions: _Positions, problems: list[Problem]) -> None:
        self.file = file
        self.value = value
        self.problems = problems
        self._positions = positions

    def problem(self, path: Path, rule: str, message: str, *, on_key: bool = False) -> Problem:
        """A problem at `path`, or at its nearest ancestor that stands in the file."""
        first, second = self._positions.values, self._positions.keys
        if on_key:
            first, second = second, first
        for length in range(len(path), -1, -1):
            mark = first.get(path[:length]) or second.get(path[:length])
            if mark is not None:
                return Problem(self.file, mark.line + 1, mark.column + 1, rule, message)
        return Problem(self.file, 1, 1, rule, message)


class _Loader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises: see the module's docstring."""


_PLAIN = {
    first: [
        (tag, form) for tag, form in resolvers if tag not in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_implicit_resolvers = _PLAIN
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def read_policy_text(path: FilePath) -> PolicyText:
    """Read one YAML file. Raises PolicyError where no document can be made of it at all."""
    content = read_or_explain(
        path, what="a policy", hint="name an existing policy file, like policies/examples/flights.yaml"
    )
    if len(content) > MAX_POLICY_BYTES:
        raise PolicyError([Problem(str(path), 1, 1, "SIZE", f"a policy is at most {MAX_POLICY_BYTES} bytes")])
    return parse_policy_text(content, str(path))


def parse_policy_text(content: bytes, file: str) -> PolicyText:
    """The same for bytes at hand."""
    try:
        root = yaml.compose(content.decode("utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        line, column = (exc.problem_mark.line, exc.problem_mark.column) if exc.problem_mark else (0, 0)
        raise PolicyError([Problem(file, line + 1, column + 1, "YAML", str(exc.problem))]) from exc
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
        raise PolicyError([Problem(file, 1, 1, "YAML", f"not a YAML text in UTF-8 ({type(exc).__name__})")]) from exc
    positions = _Positions()
    problems: list[Problem] = []
    if root is None:
        raise PolicyError([Problem(file, 1, 1, "YAML", "the file is empty")])
    value = _Builder(file, positions, problems).build(root, ())
    return PolicyText(file, value, positions, problems)


class _Builder:
    def __init__(self, file: str, positions: _Positions, problems: list[Problem]) -> None:
        self._file = file
        self._positions = positions
        self._problems = problems
        self._seen: set[int] = set()
        self._scalars = _Loader("")

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._positions.values[path] = node.start_mark
        if id(node) in self._seen:
            self._refuse(node, "ALIAS", "anchors and aliases are not part of the policy language; write it out")
            return None
        self._seen.add(id(node))
        if len(path) > MAX_DEPTH:
            self._refuse(node, "DEPTH", f"nested deeper than {MAX_DEPTH}")
            return None
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, "KEY", "a key is plain text")
                continue
            key = str(key_node.value)
            if key in result:
                self._refuse(key_node, "DUPLICATE_KEY", f"key {key!r} stands twice")
                continue
            self._positions.keys[(*path, key)] = key_node.start_mark
            result[key] = self.build(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self._scalars.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as exc:
            self._refuse(node, "YAML", f"cannot read this value ({type(exc).__name__})")
            return None

    def _refuse(self, node: yaml.Node, rule: str, message: str) -> None:
        mark = node.start_mark
        self._problems.append(Problem(self._file, mark.line + 1, mark.column + 1, rule, message))
