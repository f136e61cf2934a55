"""What device, server and auditor agree on; imports neither side.

policy/       YAML → checked model → canonical JSON, hash and signature
mechanisms/   bounded value → randomised payload, and payloads → unbiased estimate
accounting    what a release costs, which cap refuses it, the ledger's hash chain
wire          the report, the receipt, their bytes and topics
envelope      sealed box around a report
clock · errors · files · state_folder · config · log · broker · cli
"""

__version__ = "0.1.0"
