"""One run: its journal, its ledger, its results."""
