"""Meshes as others have them: what is installed, and what a night must make of each check there."""
