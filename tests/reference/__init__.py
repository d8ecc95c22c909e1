"""Slow, plain numpy versions of the fast code, in float64: what the fast code must equal."""
