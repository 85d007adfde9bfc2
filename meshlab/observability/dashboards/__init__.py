"""The Grafana dashboards that Istio ships: read from its addon, their queries executed and each answer
classified.
"""
