"""Proofs of the mesh's security: what is measured by packets, requests, certificates and counters."""
