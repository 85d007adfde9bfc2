"""Reading a proxy: its admin pages and its statistics."""
