"""The Kubernetes API: client, server-side apply, rollouts, exec, port-forward, diagnosis of pods."""
