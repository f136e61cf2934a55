"""The Markdown files, what stands in their fences, and what the code itself lists."""

import importlib.util
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Made by tools or by the demonstration, never committed.
_NOT_OURS = {".git", ".venv", ".state", ".benchmarks", "__pycache__", "dist", "node_modules"}
_FENCE = re.compile(r"^(?P<fence>```)(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def _is_ours(name):
    return name not in _NOT_OURS and not name.endswith((".egg-info", "_cache")) and name != ".hypothesis"


def files():
    """Every file that is or could be committed."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if _is_ours(name)]
        yield from (Path(folder) / name for name in sorted(names))


MARKDOWN = sorted(path for path in files() if path.suffix == ".md")
COGGED = [path for path in MARKDOWN if "[[[cog" in path.read_text(encoding="utf-8")]


def fences(path, language):
    """Bodies of the fenced blocks of one language."""
    text = path.read_text(encoding="utf-8")
    return [match["body"] for match in _FENCE.finditer(text) if match["language"] == language]


def name_of(path):
    """A short name for test ids."""
    return str(path.relative_to(ROOT))


def reference():
    """scripts/reference.py as a module."""
    if "reference" not in sys.modules:
        spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
        sys.modules["reference"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["reference"])
    return sys.modules["reference"]
