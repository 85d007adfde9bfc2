"""What is measured side by side: `python -m benchmarks [PART …]`, or `make bench ARGS="PART …"`."""
