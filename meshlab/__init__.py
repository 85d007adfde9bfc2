"""meshlab: plain typed Python under the lab's flows. Imports neither Prefect nor the packages `tasks` and `flows`."""

__version__ = "0.2.0"
