"""Composition only: order, conditions, teardown."""
