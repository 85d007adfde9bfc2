"""Pure functions from results to texts, tables and pictures. Nothing here asks a cluster or publishes."""
