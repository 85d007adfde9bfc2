"""What the API gives."""

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]  # one of the cluster's objects
