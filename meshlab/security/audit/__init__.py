"""The audit: one rule per security best practice, over an inventory that is read once from the cluster."""
