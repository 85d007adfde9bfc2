"""What a run is asked to do: settings, and where they come from."""
