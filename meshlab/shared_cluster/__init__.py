"""Manners on a cluster that other people use: permissions, one run at a time, and what a run changed."""
