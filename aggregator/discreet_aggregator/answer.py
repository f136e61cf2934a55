"""Decisions → receipts messages, one a bucket. Built only once the decisions are committed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from discreet_aggregator.records import Outgoing
from discreet_contract.wire import Receipt, encode_receipts, receipt_bucket, receipt_tag, receipts_topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from discreet_aggregator.policies import PolicyShelf
    from discreet_aggregator.records import Admitted, Refused
    from discreet_contract.wire import Report

_DEFAULT_BUCKETS = 16  # the policy language's default, for a report under a policy that is not on the shelf
_RECEIPTS_A_MESSAGE = 1000  # about 40 kB: under every broker's packet limit that deploy/ sets


def answer(decisions: Iterable[Admitted | Refused], shelf: PolicyShelf, fleet: str) -> list[Outgoing]:
    """Messages that tell devices what became of their reports; a decision without a verdict is not answered."""
    by_topic: defaultdict[str, dict[Receipt, None]] = defaultdict(dict)
    for decision in decisions:
        if decision.report is None or decision.verdict is None:
            continue
        report = decision.report
        receipt = Receipt(
            report.report_id,
            decision.verdict,
            receipt_tag(report.receipt_key, report.report_id, decision.verdict),
        )
        by_topic[_topic(report, shelf, fleet)][receipt] = None
    return [
        Outgoing(topic, encode_receipts(tuple(receipts)[start : start + _RECEIPTS_A_MESSAGE]))
        for topic, receipts in by_topic.items()
        for start in range(0, len(receipts), _RECEIPTS_A_MESSAGE)
    ]


def _topic(report: Report, shelf: PolicyShelf, fleet: str) -> str:
    verified = shelf.get(report.policy_hash)
    buckets = _DEFAULT_BUCKETS if verified is None else verified.policy.receipt_buckets
    return receipts_topic(fleet, receipt_bucket(report.report_id, buckets))
