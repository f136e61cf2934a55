"""The idle daemon stays small: what it does not need yet, it has not loaded."""

import subprocess
import sys

import pytest

HEAVY = (
    "opendp",
    "numpy",
    "sqlite_utils",
    "yaml",
    "psutil",
    "discreet_aggregator",
    "hypothesis",
    "pydantic",
    "httptools",
    "google.protobuf",
    "mmh3",
    "opentelemetry",
)


@pytest.mark.parametrize("module", HEAVY)
def test_the_daemon_does_not_import_what_it_may_never_need(module):
    """OpenDP comes with the first window that closes, psutil with the host collector."""
    program = f"import sys, discreet_agent.cli.commands, discreet_agent.daemon; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
