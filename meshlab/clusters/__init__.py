"""Where a mesh can run: `local` (made here), `existing` (a kubeconfig's context) and `gke`."""
