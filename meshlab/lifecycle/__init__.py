"""From one run to the next: resume, teardown, and labs that are kept."""
