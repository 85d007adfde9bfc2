"""Programs of our own that run inside the cluster's images. Standard library only, nothing of meshlab."""
