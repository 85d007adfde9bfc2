"""The Grafana dashboards that Istio ships: read from its addon, their queries executed, each answer classified."""
