"""Nothing in this repository belongs to one machine, and no key in it opens anything."""

import re

from documents import ROOT, files, name_of

# Written apart, so that this file does not find itself.
_MACHINE = re.compile("|".join(("/wo" + "rk/", "/ro" + "ot/", "/ho" + r"me/\w", "/opt/" + "pypi", "/opt/" + "wheels")))
_REGISTRY = re.compile(
    "(?:" + "index" + "-url|" + "find" + r"-links|https?://[\w.-]*(?:pypi|registry|mirror|proxy|nexus)[\w.-]*)"
)
_PRIVATE = re.compile("-----BEGIN [A-Z ]*" + "PRIVATE KEY-----")
_KEY_FILES = {".key", ".pem", ".p12", ".pfx"}


def texts():
    for path in files():
        try:
            yield name_of(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_path_of_one_machine():
    assert [name for name, text in texts() if _MACHINE.search(text)] == []


def test_no_registry_address():
    assert [name for name, text in texts() if _REGISTRY.search(text)] == []


def test_no_private_key():
    """The one key among the vectors is of that file's own making and says so."""
    assert [name for name, text in texts() if _PRIVATE.search(text)] == []
    assert [name_of(path) for path in files() if path.suffix in _KEY_FILES or path.name == "identity"] == []


def test_sample_keys_are_the_placeholder():
    """A sample with a real key would one day be copied."""
    samples = [*(ROOT / "policies" / "examples").glob("*.yaml"), *(ROOT / "deploy").rglob("*.toml")]
    assert len(samples) >= 4
    for path in samples:
        keys = re.findall(r"\b[0-9a-f]{64}\b", path.read_text(encoding="utf-8"))
        assert keys
        assert set(keys) == {"0" * 63 + "9"}, name_of(path)
