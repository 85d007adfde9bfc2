"""The base of every group of settings."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


def _ordered(schema: dict[str, Any]) -> None:
    """Number the fields in the order of the class: Prefect's forms sort by it, and its database may not keep one."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position


class SettingsBase(BaseModel):
    """A group of settings: unknown names are errors, values don't change after they were judged."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_ordered)
