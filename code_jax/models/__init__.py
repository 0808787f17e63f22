"""The score network: the only Flax modules."""
