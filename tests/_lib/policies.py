"""Policies for tests: small edits of the demo's own policy file."""

from pathlib import Path

from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import parse_policy_text

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "policies" / "examples"
FLIGHTS = EXAMPLES / "flights.yaml"
HOST = EXAMPLES / "host.yaml"
MEDIA = EXAMPLES / "media.yaml"
FILE = "p.yaml"


EXHAUSTIBLE = ("budget:\n", "budget:\n  exhaustible: an edit made by tests\n")  # for edits that cost more than the caps


def edited(*edits, path=FLIGHTS):
    """Text of an example (flights.yaml) with each (old, new) applied to the first place where old stands."""
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text, f"{path.name} no longer holds {old!r}"
        text = text.replace(old, new, 1)
    return text


def parsed(text):
    """What the reader makes of a text."""
    return parse_policy_text(text.encode("utf-8"), FILE)


def built(*edits):
    """Compiled policy of the edited text."""
    return build_policy(parsed(edited(*edits)))
