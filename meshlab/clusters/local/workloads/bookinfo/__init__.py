"""Bookinfo's services in plain Python, for clusters that can't have the official images.

Same names, ports, routes, JSON, page title, environment switches and forwarded headers as Istio's sample
(samples/bookinfo/src of the Istio repository), so that the official manifests run with other images only.
Not here: the database-backed ratings (v2) and the external book service of details; asking for them ends the
program with a message. Run as `python3 -m bookinfo SERVICE PORT`.
"""
