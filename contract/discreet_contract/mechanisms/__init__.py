"""One file a mechanism: parameters, odds, `randomize` (OpenDP) and unbiased `estimate`, side by side.

mechanism          what all of them offer, and the records they share
support            what follows from two odds of support: estimate, variance, score intervals
randomized_response  rr-1    yes or no
k_ary                krr-1   one of a few categories
subset_selection     sss-1   one of some dozens
local_hashing        llh-1   one of up to 65,536
memoised             lgrr-1  one of a few, reported often, that stays
multi_select         msel-…  several of many, through one of the three above
dithered_bit         dbit-1  a bounded integer, ε up to about 1.1; its distribution as well
dithered_levels      dlev-1  the same for larger ε
dithered_mix         dmix-1  one of the two by a public coin, for ε in between
discrete_laplace     dlap-1  a clamped integer
distribution       survival curve and quantiles from the sums of the dithered ones
histogram          which bucket a number falls into
open_strings       which cell a string falls into, and a dictionary's figures
post_process       what a reader may do to estimates, by name
catalogue          ids → classes, and which one a metric gets

A mechanism id's meaning never changes; a new meaning is a new id.
"""
