"""Requests from inside the mesh: the sleep pod's loop, single rounds, and their statistics."""
