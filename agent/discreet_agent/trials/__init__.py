"""Experiments on the device: who takes part, by public facts and chance alone. Pure: no store, no edge."""
