"""What the mesh should allow, derived from its policies by an evaluator of our own, and what it does allow."""
