"""YAML of our own. What Istio ships (samples, addons, profiles) is read from the distribution in use."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml


def read(name: str) -> Any:
    """The content of `name`.yaml, one YAML document, anchors expanded. Each call returns a new value."""
    return yaml.safe_load((files(__name__) / f"{name}.yaml").read_text(encoding="utf-8"))
