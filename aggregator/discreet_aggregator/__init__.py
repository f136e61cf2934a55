"""The aggregator: sealed reports in, honest estimates out.

ingest      MQTT messages → batches of envelopes; acknowledges only after the commit
unseal      envelope → report, or the reason why it cannot be opened
admit       report → admitted value, or a counted refusal with or without a verdict
archive     admitted reports → blocks of one cell and policy, kept for good
accumulate  blocks → mergeable sums per metric version and window
answer      verdicts → authenticated receipts, one message a bucket
estimate    sums → figures with intervals, or "withheld"

`pipeline.py` calls them in this order, all writes in one transaction; `worker.py` and `service.py` keep it running.
"""

__version__ = "0.1.0"
