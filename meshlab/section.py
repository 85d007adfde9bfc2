"""The base of every group of settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings: unknown names are errors, values don't change after they were judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)
