"""Clusters on Google Kubernetes Engine: made, written down, reached, and taken away again."""
