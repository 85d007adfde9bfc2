"""Examples of what the report shows, made up, but of the size and shape of a whole run."""
