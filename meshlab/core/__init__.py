"""What everything else stands on: errors, processes, waits, HTTP, files, text. Knows nothing of Kubernetes."""
