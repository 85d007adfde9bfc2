"""Planted faults: what is broken on purpose, which checks must see it, and how it is put right again."""
