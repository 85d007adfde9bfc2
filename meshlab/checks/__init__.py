"""What the run proves: one module per family, each check a function that returns a CheckResult."""
