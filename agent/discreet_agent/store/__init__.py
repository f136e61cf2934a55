"""One SQLite database a device: raw blocks, tallies, ledger, outbox and sent, counters.

store    opening, the one transaction, counters and meta
schema   tables and named migrations
raw      raw blocks and recent event ids
tallies  open windows' states, and which window each metric closes next
ledger   charges, hash-chained; refusals of charges
head     the ledger's last row, outside the database
reservations  what windows that have begun will cost
outbox   envelopes that wait for a receipt; sent ones
"""
