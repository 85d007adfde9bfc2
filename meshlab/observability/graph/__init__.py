"""The service graph: who called whom."""
