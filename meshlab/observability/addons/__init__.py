"""What stands beside the mesh: each addon's manifest, its readiness, its endpoint, and how it is asked."""
