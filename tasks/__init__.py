"""Thin Prefect tasks over `meshlab`: options, retries, the run's journal, artifacts."""
