"""Features: what a device computes from its own events for its own apps. Pure: no store, no edge.

An event goes into a time bucket of each feature that it concerns; a value is read from a feature's buckets. The
order in which events come never matters, and a rebuild from stored events gives the same buckets.
"""
