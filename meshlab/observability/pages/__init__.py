"""The start page of a kept lab: its links, and live views drawn by the code that draws the report."""
