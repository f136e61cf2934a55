"""`discreet policy audit`: holds what a device sends against what its policy declares.

findings    what a check found, in figures and in words
exact       the odds and the charge, in exact arithmetic
simulate    bias and coverage of the estimator, drawn from the odds with a fixed seed
scenario    two neighbouring devices: events that give a metric's extreme values
device_path what an auditor needs of a device: event lines in, envelopes and charges out
walk        devices walk the whole path, many times; what left each of them
bound       a lower bound on ε from what two neighbours sent
draws       whether what they sent follows the odds, evenly and independently
form        presence, ledger, resend: what must not depend on data at all
names       whether report ids and receipt keys look drawn at random
engine      every check of every metric, in order
render      the table

Needs the extra `audit` (NumPy, SciPy). No noise for any device is drawn here.
"""
