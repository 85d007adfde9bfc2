"""The rotation drill: leaf certificates of minutes, another intermediate, another root, and back, under load."""
