"""Features that a device could not keep in a bounded number of buckets are refused when the policy is read."""

import pytest

from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import parse_policy_text
from personal_bench import personal_text

_FROM = {"from": "playback.stopped"}


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ({"aggregate": "count", "window": "1d", "fallback": "last_known"}, "wants `ttl`"),
        ({"aggregate": "session", "gap": "1s", "window": "30d"}, "100000 gaps"),
        ({"aggregate": "decayed_count", "half_life": "1d", "window": "7d", "alignment": "tumbling"}, "has no border"),
        ({"aggregate": "time_since", "alignment": "tumbling"}, "wants a `window`"),
        ({"aggregate": "active_days", "window": "36h"}, "whole days"),
    ],
)
def test_what_cannot_be_kept_is_refused(feature, said):
    with pytest.raises(Exception, match=said):
        build_policy(parse_policy_text(personal_text(features={"one": _FROM | feature}).encode(), "policy.yaml"))
