"""A real Kubernetes on one Linux machine: compiled, started in network namespaces of its own, and removed again."""
