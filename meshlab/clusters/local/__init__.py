"""A real Kubernetes on one Linux machine: compiled, run in namespaces of its own, and removed again."""
