"""A fleet in an experiment on the demonstration's path: the aggregator's cells carry arm and platform, and no more."""
