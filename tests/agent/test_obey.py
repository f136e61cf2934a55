"""P5: which policy a device obeys."""

import pytest
from nacl.signing import SigningKey

from device_bench import ROOT, make_signed
from discreet_agent.obey import obey
from discreet_contract.errors import ConfigError, SignatureRefusedError

ROOTS = [ROOT.verify_key.encode().hex()]


@pytest.fixture
def configured(tmp_path):
    return tmp_path / "policy.json"


def test_a_signed_policy_is_obeyed_and_kept(tmp_path, configured):
    """Also when the configured file is gone at the next start."""
    configured.write_bytes(make_signed())
    first = obey(configured, ROOTS, tmp_path)
    configured.unlink()
    second = obey(configured, ROOTS, tmp_path)

    assert first.refused == ""
    assert second.policy.digest == first.policy.digest
    assert "cannot read" in second.refused


def test_a_newer_version_replaces_an_older_never_the_reverse(tmp_path, configured):
    """Rollback is a new version with old content."""
    for version in (2, 3):
        configured.write_bytes(make_signed(version=version))
        assert obey(configured, ROOTS, tmp_path).policy.policy.version == version
    for version in (2, 1):
        configured.write_bytes(make_signed(version=version))
        result = obey(configured, ROOTS, tmp_path)
        assert result.policy.policy.version == 3
        assert "ROLLBACK" in result.refused


def test_the_same_version_with_other_content_is_refused(tmp_path, configured):
    """Two versions 1 are one too many."""
    configured.write_bytes(make_signed())
    obey(configured, ROOTS, tmp_path)
    configured.write_bytes(make_signed(cap=999))

    assert "ROLLBACK" in obey(configured, ROOTS, tmp_path).refused


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "FORM"),
        (b"{}", "FORM"),
        (make_signed()[:-40], "FORM"),
        (make_signed().replace(b'"version":1}', b'"version":9}'), "ALTERED"),
        (make_signed(root=SigningKey(bytes(32))), "NO_PINNED_SIGNATURE"),
        (b" " * 3_000_000, "SIZE"),
    ],
)
def test_a_bad_policy_is_refused_and_the_last_good_one_stays(tmp_path, configured, content, rule):
    """Each with its own rule."""
    configured.write_bytes(make_signed())
    good = obey(configured, ROOTS, tmp_path).policy
    configured.write_bytes(content)
    result = obey(configured, ROOTS, tmp_path)

    assert result.policy.digest == good.digest
    assert rule in result.refused


def test_without_any_good_policy_the_start_fails_with_the_file_named(tmp_path, configured):
    """And with the next step."""
    with pytest.raises(ConfigError, match=r"policy\.json:1") as missing:
        obey(configured, ROOTS, tmp_path)
    configured.write_bytes(make_signed(root=SigningKey(bytes(32))))
    with pytest.raises(SignatureRefusedError, match=r"policy\.json:1") as refused:
        obey(configured, ROOTS, tmp_path)

    assert missing.value.hint
    assert refused.value.hint


def test_another_fleets_policy_is_refused(tmp_path, configured):
    """Even under the same root."""
    configured.write_bytes(make_signed())
    obey(configured, ROOTS, tmp_path)
    from device_bench import AGGREGATOR, POLICY
    from discreet_contract.policy.compile import build_policy
    from discreet_contract.policy.read import parse_policy_text
    from discreet_contract.policy.release import sign_policy

    text = POLICY.format(
        version=5,
        consent="managed",
        cap=1000,
        spread="0s",
        sensitivity="technical",
        until="2030-01-01",
        public_key=AGGREGATOR.public_key.encode().hex(),
    ).replace("fleet: testers", "fleet: others")
    configured.write_bytes(sign_policy(build_policy(parse_policy_text(text.encode(), "x")), [ROOT]))

    assert "FLEET" in obey(configured, ROOTS, tmp_path).refused


def test_a_kept_policy_that_cannot_be_verified_is_named(tmp_path, configured):
    """Damaged, or signed by a root that is pinned no longer: the operator must know which file."""
    configured.write_bytes(make_signed())
    obey(configured, ROOTS, tmp_path)
    (tmp_path / "policy.signed.json").write_bytes(b"{")
    with pytest.raises(SignatureRefusedError, match=r"policy\.signed\.json:1") as refused:
        obey(configured, ROOTS, tmp_path)
    assert "rollback" in refused.value.hint
