"""YAML of our own. What Istio ships (samples, addons, profiles) is read from the distribution in use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml


def read(name: str, **words: str) -> Any:
    """Read a manifest of ours. Each call returns a new value.

    Args:
        name: The file's name without `.yaml`; it holds one YAML document, whose anchors are expanded.
        words: Placeholder → its text, filled in wherever the placeholder stands in a string.

    Returns:
        The document's content.
    """
    return _filled(yaml.safe_load((files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")), words)


def _filled(found: Any, words: Mapping[str, str]) -> Any:
    if isinstance(found, str) and words:  # in one go: a word within a text that was filled in stays
        return re.sub("|".join(sorted(words, key=len, reverse=True)), lambda word: words[word[0]], found)
    if isinstance(found, list):
        return [_filled(each, words) for each in found]
    if isinstance(found, dict):
        return {key: _filled(value, words) for key, value in found.items()}
    return found
