"""The lint rules, by theme; each rule's docstring is its line in policies/README.md.

ownership    who answers for it, until when
privacy      what it can reveal
statistics   whether the figures will mean anything
experiments  whether a comparison can be believed
hygiene      what is left over, doubled, or said but not yet done
"""
