"""Whatever is done to a policy file, the answer is a policy or a list of problems in it."""

import copy
import json
from datetime import date

import msgspec
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from discreet_contract.errors import PolicyError
from discreet_contract.policy.compile import build_policy, canonical_json
from discreet_contract.policy.explain import explain
from discreet_contract.policy.explain_document import arrange
from discreet_contract.policy.explain_render import as_html, as_markdown, as_text
from discreet_contract.policy.lint import lint_policy
from discreet_contract.policy.model import Policy
from discreet_contract.policy.release import sign_policy, verify_policy
from policies import FLIGHTS, HOST, MEDIA, parsed

KEY = SigningKey(b"r" * 32)
TEXTS = [path.read_text(encoding="utf-8") for path in (FLIGHTS, HOST, MEDIA)]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "auto",
            "krr-1",
            "0s",
            "1m",
            "28d",
            "delay",
            "origin",
            "mean",
            "none",
            "2027-02-30",
            "a\n",
            0,
            1,
            1e300,
            -1e-310,
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def outcome(text):
    """Everything that is ever done with a policy file; problems lie inside the file."""
    try:
        policy = build_policy(parsed(text))
    except PolicyError as exc:
        assert_inside(text, exc.problems)
        return
    lint_policy(policy, date(2026, 11, 1))
    assert msgspec.convert(json.loads(canonical_json(policy)), Policy) == policy
    document = arrange(explain(policy, bytes(32)))
    assert all(write(document) for write in (as_text, as_markdown, as_html))
    assert canonical_json(
        verify_policy(sign_policy(policy, [KEY]), [KEY.verify_key.encode().hex()]).policy
    ) == canonical_json(policy)


def assert_inside(text, problems):
    """At least one problem, in order, each at a place of the text and printable."""
    assert problems
    assert problems == sorted(problems)
    for problem in problems:
        assert 1 <= problem.line <= len(text.splitlines()) + 1
        assert problem.column >= 1
        assert problem.rule.isupper()
        assert str(problem).encode()


def places(value, path=()):
    """Every path inside a document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield (*path, index)
            yield from places(item, (*path, index))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(TEXTS), st.data())
def test_any_value_may_stand_anywhere(text, data):
    """Up to three places of an example hold something else."""
    value = copy.deepcopy(parsed(text).value)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(list(places(value))))
        target = value
        for key in parents:
            target = target[key]
        if data.draw(st.booleans()) and isinstance(target, dict):
            target[data.draw(st.text(max_size=8))] = data.draw(values)
        else:
            target[last] = data.draw(values)
    outcome(yaml.safe_dump(value, allow_unicode=True, sort_keys=False))


@settings(max_examples=200)
@given(st.sampled_from(TEXTS), st.data())
def test_any_character_may_be_lost_or_added(text, data):
    """A file that was cut, or that a cat walked over."""
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 12))
    extra = data.draw(st.text(st.sampled_from("&*!?|>{}[]:,-#'\"\\\n\t %@`x0é\u2028"), max_size=6))
    outcome(text[:at] + extra + text[at + cut :])


@given(st.text(max_size=80))
def test_any_text_is_a_policy_or_refused(text):
    """Even none at all."""
    outcome(text.encode("utf-8", "replace").decode())
