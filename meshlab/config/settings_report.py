"""Where reports go, and what is kept of earlier runs."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator

from meshlab.config.base import SettingsBase

# No user and password, and no query: an address is shown, and what signs one is in its query.
STORE = r"[a-z][a-z0-9+]*://[^\s@?#]*[^\s@?#/][^\s@?#]*"


class ReportSettings(SettingsBase):
    """Where reports go."""

    publish: str | None = Field(
        None,
        description="Report, result.json and junit.xml are put there, too, under the run's id: file:///folder, "
        "gs://bucket/path, s3://bucket/path, or what else fsspec writes to.",
    )

    @field_validator("publish")
    @classmethod
    def _is_store(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(STORE, value) is None:
            raise ValueError(
                "needs scheme://place, without password and query: credentials are the environment's"
            )
        if value is not None and value.startswith("file:") and not value.startswith("file:///"):
            raise ValueError("needs the folder's whole path: file:///folder")
        return value


class HistorySettings(SettingsBase):
    """What is kept of earlier runs."""

    path: Path | None = Field(
        None, description="SQLite file; history.sqlite in the XDG state folder when not given."
    )
    every_hours: float = Field(
        24,
        gt=0,
        le=24 * 31,
        description="Hours between two nights; one and a half times as many is a missed one.",
    )
