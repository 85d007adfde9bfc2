"""What a mesh shows of itself: addons, dashboards, and the service graph."""
