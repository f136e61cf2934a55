"""The one source of truth: what may be collected, kept, learnt and sent.

read      YAML file, or a folder of them → builtins, with the position of every key
shape     builtins → structs, every problem at once
model     the structs: what the policy language can say; with terms, personalization, trials, operation
meanings  what each key means, for the reference and for editors (schema)
check     do the parts fit one another (an error if not); with check_personalization, check_trials, check_operation
lint      is it wise: the named rules in lints/
compile   defaults filled, mechanisms fixed → canonical JSON and its hash
release   sign, verify; with signatures
log       every release in a Merkle tree (merkle), as plain files
diff      what changed between two, by the table of diff_rules; gate: may it be released after the last one
explain   the same in plain words: facts → explain_document → text, Markdown, HTML; registry: an entry for a register
loss      what a device loses in a span of days
"""
