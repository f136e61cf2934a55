"""Every exception discreet raises on purpose.

DiscreetError                 message + hint (the next step); never carries a raw value
├── RetryableError            trouble that may pass: broker away, database locked
├── PermanentError            trouble that will not pass by itself
│   ├── ConfigError           this machine's TOML or paths are wrong
│   ├── PolicyError           a policy has problems; carries all of them
│   ├── SignatureRefusedError not signed by a pinned key, or altered since
│   ├── ReleaseRefusedError   a policy that may not follow the last release
│   ├── StoreError            a database cannot be opened or is not ours
│   │   └── CorruptStoreError its pages do not fit together; it is set aside
│   └── IllegalPayloadError   bytes no honest mechanism produces
└── AgentUnreachableError     a command needs a running agent and found none

Refused *input* is not in this tree: a refused event or report is a value with an enum
reason (`EventRefusal`, `Verdict`), counted and answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

_POLICY_HINT = "mend the lines above; the language is described in policies/README.md"


class ExitCode(IntEnum):
    """Exit codes of the `discreet` command, documented in the README."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    POLICY = 4
    UNREACHABLE = 5
    RETRYABLE = 6
    DIFF_COMPATIBLE = 10
    DIFF_BREAKING = 11
    DIFF_REGRESSING = 12
    DIFF_BREAKING_REGRESSING = 13


class DiscreetError(Exception):
    """Base of the tree. `hint` is the operator's next step, in one imperative sentence."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class RetryableError(DiscreetError):
    """Trouble that may pass; the caller tries again later."""

    exit_code = ExitCode.RETRYABLE


class PermanentError(DiscreetError):
    """Trouble that will not pass until somebody changes something."""


class ConfigError(PermanentError):
    """The machine's own configuration is missing or wrong."""

    exit_code = ExitCode.CONFIG


class SignatureRefusedError(PermanentError):
    """A signed policy, log or head that must not be obeyed. `rule` names which of a closed list it breaks."""

    exit_code = ExitCode.POLICY

    def __init__(self, message: str, *, rule: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.rule = rule


class ReleaseRefusedError(PermanentError):
    """A policy that may not follow the last release; all reasons, one a line."""

    exit_code = ExitCode.POLICY


class StoreError(PermanentError):
    """A database that cannot be opened, or that a newer version wrote."""


class CorruptStoreError(StoreError):
    """A database whose pages or rows cannot be read any more."""


class IllegalPayloadError(PermanentError):
    """A payload that the named mechanism never produces."""


class AgentUnreachableError(DiscreetError):
    """No agent answers on the socket."""

    exit_code = ExitCode.UNREACHABLE


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in a policy file, where it stands, and the rule it breaks. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.rule} {self.message}"


class PolicyError(PermanentError):
    """A policy with problems; all of them, in the order they stand in the file."""

    exit_code = ExitCode.POLICY

    def __init__(self, problems: list[Problem], *, hint: str = _POLICY_HINT) -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = problems
