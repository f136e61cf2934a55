"""The device's side: a value's way, stage by stage, in the order in which `pipeline` calls them.

receive     bytes from the Unix socket or a collector → event lines; senders: who says so, and may it
validate    event line → event with declared, typed, bounded fields, or a refusal; rates: so many a minute
store       event → raw block, tally of its window; one commit for many
— a window closes —
summarise   tally → one bounded integer per metric (contribution bound) → OpenDP → payload
ledger      the charge, in the same transaction as the payload
seal        payload → report → envelope in the outbox, same transaction
publish     outbox → MQTT; only the aggregator's own receipt clears a row
"""

__version__ = "0.1.0"
