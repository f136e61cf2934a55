"""The one source of truth: what may be collected, kept, learnt and sent.

read      YAML file → builtins, with the position of every key
shape     builtins → structs, every problem at once
model     the structs: what the policy language can say
check     do the parts fit one another (an error if not)
lint      is it wise (named rules)
compile   defaults filled, mechanisms fixed → canonical JSON and its hash
release   sign, verify
explain   the same in plain words
"""
