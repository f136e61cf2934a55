"""One file a mechanism: parameters, odds, `randomize` (OpenDP) and unbiased `estimate`, side by side.

mechanism          what all of them offer, and the records they share
randomized_response  rr-1    yes or no
k_ary                krr-1   one of a few categories
discrete_laplace     dlap-1  a clamped integer
catalogue          ids → classes, and which one a metric gets

A mechanism id's meaning never changes; a new meaning is a new id.
"""
